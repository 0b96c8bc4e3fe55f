// Opens a console without a console URL. A user who is logged in at this site gets a fresh token for it; others are led
// to the login, and then back.

import { keepAccess } from './address';
import type { Access } from './address';
import { Fault, call } from './calls';
import { element } from './elements';
import type { Action } from './messages';
import { named } from './names';
import { consolePath, root, serversPage } from './places';
import type { Place } from './places';
import { goToLogin, isTile, loginAround, tellAround } from './tile';

/** Maximum number of servers of the same name that are offered. */
const MOST = 20;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

interface Server {
  id: string;
  name: string;
  can: (Action | 'watch')[];
}

/** Access to the console that this page's address names. Undefined if the page says why not, or is being left. */
export async function enter(place: Place): Promise<Access | undefined> {
  try {
    const servers = await find(place.server);
    const [server] = servers;
    if (!server) return explain(place, `There is no server called “${place.server}”, or you may not see it.`);
    if (servers.length > 1) return offer(place, servers);
    element('server', HTMLElement).textContent = server.name;
    element('port', HTMLElement).textContent = `port ${place.port}`;
    document.title = `${server.name}:${place.port} – console`;
    tellAround({ tile: 'title', title: document.title });
    const watches = new URLSearchParams(location.search).get('mode') === 'watch' || !server.can.includes('write');
    const token = await freshToken(server.id, place.port, watches);
    const access: Access = { path: location.pathname, token, ...(watches && { mode: 'watch' }) };
    keepAccess(access);
    return access;
  } catch (error) {
    return refuse(place, error);
  }
}

/** A new console token, also for a server that is off. Throws a `Fault`. */
export async function freshToken(server: string, port: number, watches: boolean): Promise<string> {
  const query = new URLSearchParams({ port: String(port), wait: '1', ...(watches && { mode: 'watch' }) });
  const path = `v3/servers/${encodeURIComponent(server)}/get-serial-console?${query}`;
  const { serial_console: console } = await call<{ serial_console: { url: string } }>('POST', path);
  const token = new URL(console.url).searchParams.get('token');
  if (token === null) throw new Fault(0, 'The API returned an invalid console URL. Check its option base_url.');
  return token;
}

/** Whether the API lets this user type at a server; false if there is no such server. Throws a `Fault`. */
export async function mayType(server: string): Promise<boolean> {
  return (await find(server))[0]?.can.includes('write') ?? false;
}

/** The servers with this name, or the one with this id. */
async function find(server: string): Promise<Server[]> {
  if (UUID.test(server)) {
    const answer = await call<{ server: Server }>('GET', `v1/servers/${server}`).catch(missing);
    return answer ? [answer.server] : [];
  }
  const query = new URLSearchParams({ exact_name: server, limit: String(MOST) });
  return (await call<{ servers: Server[] }>('GET', `v1/servers?${query}`)).servers;
}

function missing(error: unknown): undefined {
  if (!(error instanceof Fault && error.status === 404)) throw error;
}

function refuse(place: Place, error: unknown): undefined {
  const fault = error instanceof Fault ? error : new Fault(0, String(error));
  if (fault.status === 401 && !isTile) return goToLogin() as undefined;
  explain(place, fault.message);
  if (fault.status === 401) {
    const link = element('unopened-servers', HTMLAnchorElement);
    link.href = loginAround();
    link.textContent = 'Log in';
    tellAround({ tile: 'login' });
  }
  // Another try does not change a refusal, but may succeed after other failures.
  element('try-again', HTMLElement).hidden = fault.status >= 400 && fault.status < 429;
}

function explain(place: Place, text: string): undefined {
  element('unopened-title', HTMLElement).textContent = `Port ${place.port} of ${named(place.server)} cannot be opened`;
  tellAround({ tile: 'state', tone: 'failed', words: 'cannot be opened', attached: false, types: false });
  element('unopened-text', HTMLElement).textContent = text;
  element('unopened-servers', HTMLAnchorElement).href = serversPage(undefined);
  element('try-again', HTMLElement).onclick = () => location.reload();
  for (const id of ['unopened', 'hint']) element(id, HTMLElement).hidden = id === 'hint';
  if (!isTile) element('unopened', HTMLElement).focus();
}

/** Offers several servers of the same name, by their ids. */
function offer(place: Place, servers: Server[]): undefined {
  explain(place, `You see ${servers.length} servers of this name. Choose one:`);
  const links = servers.map(({ id }) => {
    const [item, link] = [document.createElement('li'), document.createElement('a')];
    link.href = root() + consolePath(id, place.port) + (isTile ? '?tile' : '');
    link.target = '_self';
    link.textContent = id;
    item.append(link);
    return item;
  });
  element('unopened-choices', HTMLElement).replaceChildren(...links);
}
