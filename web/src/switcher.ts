// The dialog in which the user finds another console: all ports of all servers that this user sees, by name. Its
// entries are links, so that a console can be opened in another tab as well.

import './switcher.css';

import { call } from './calls';
import { buttons, openDialog } from './dialog';
import { button, make } from './elements';
import { consolePath, root } from './places';
import type { Place } from './places';

/** Maximum number of ports that are listed. To find others, the user types more of their names. */
const SHOWN = 100;

/** Maximum servers or lines in one answer, and maximum answers for one list. */
const PAGE = 1000;
const PAGES = 10;

type Status = 'ACTIVE' | 'ERROR' | 'HOST_LOST' | 'PAUSED' | 'SHUTOFF' | 'SUSPENDED';

interface Server {
  id: string;
  name: string;
  status: Status;
}

interface Line {
  server: { id: string; name: string };
  port: number;
}

interface Entry extends Line {
  status: Status | undefined;
  /** Whether the server has other ports. */
  several: boolean;
}

const WORDS: Record<Status, string> = {
  ACTIVE: 'running',
  ERROR: 'failed',
  HOST_LOST: 'host lost',
  PAUSED: 'paused',
  SHUTOFF: 'off',
  SUSPENDED: 'suspended',
};

const TONES: Partial<Record<Status, string>> = { ACTIVE: 'connected', ERROR: 'failed', HOST_LOST: 'failed' };

/** The last list. */
let entries: Entry[] = [];

/**
 * Opens the dialog, with the last list until the new one is there. Its links lead to the consoles; with `choose`, a
 * press calls that instead.
 */
export async function openSwitcher(title = 'Switch server', choose?: (place: Place) => void): Promise<void> {
  const filter = make('input', '');
  const told = make('p', '');
  const list = make('ul', '');
  filter.type = 'search';
  filter.ariaLabel = filter.placeholder = 'Filter by name';
  filter.autocomplete = 'off';
  filter.spellcheck = false;
  told.role = 'status';
  list.role = 'list';
  list.ariaLabel = 'Consoles';

  const pick = choose && ((place: Place): void => {
    dialog.close();
    choose(place);
  });
  const show = (): void => {
    const wanted = filter.value.trim().toLowerCase();
    const fits = entries.filter(({ server }) => server.name.toLowerCase().includes(wanted));
    list.replaceChildren(...fits.slice(0, SHOWN).map((entry) => itemOf(entry, pick)));
    const [all, ports] = [entries.length, entries.length === 1 ? 'port' : 'ports'];
    const shown = fits.length > SHOWN ? `, the first ${SHOWN} are shown` : '';
    if (fits.length > 0) told.textContent = `${fits.length} of ${all} ${ports}${shown}`;
    else told.textContent = all === 0 ? 'There are no servers yet.' : 'No server has this in its name.';
  };
  filter.addEventListener('input', show);
  const end = button('Close', () => dialog.close());
  const dialog = openDialog(title, [filter, told, list, buttons(end)], filter);
  dialog.element.classList.add('switcher');
  dialog.element.addEventListener('keydown', (event) => handleKey(event, filter, list));
  show();
  if (entries.length === 0) told.textContent = 'Loading…';
  try {
    const [servers, lines] = await Promise.all([
      all<Server>('servers', ({ id }) => id),
      all<Line>('lines', ({ server, port }) => `${server.id}/${port}`),
    ]);
    entries = entriesOf(servers, lines);
    show();
  } catch (error) {
    told.textContent = error instanceof Error ? error.message : String(error);
  }
}

/** Arrows move through the list, and a character that is typed there goes to the filter. */
function handleKey(event: KeyboardEvent, filter: HTMLElement, list: HTMLElement): void {
  const links = [...list.querySelectorAll('a')];
  const at = links.findIndex((link) => link === document.activeElement);
  const inFilter = document.activeElement === filter;
  if (event.key === 'ArrowDown') links[at + 1]?.focus();
  else if (event.key === 'ArrowUp') (links[at - 1] ?? filter).focus();
  else if (event.key === 'Enter' && inFilter) links[0]?.click();
  else if (event.key.length === 1 && at >= 0 && !event.ctrlKey && !event.metaKey) return filter.focus();
  else return;
  event.preventDefault();
}

/** All pages of a list, at most `PAGES`. `marker` names the last item of a page, after which the next page begins. */
async function all<T>(name: string, marker: (last: T) => string): Promise<T[]> {
  const items: T[] = [];
  for (let page = 0; page < PAGES; page += 1) {
    const last = items.at(-1);
    const query = new URLSearchParams({ limit: String(PAGE), ...(last && { marker: marker(last) }) });
    const answer = await call<Record<string, T[]>>('GET', `v1/${name}?${query}`);
    const some = answer[name] ?? [];
    items.push(...some);
    if (some.length < PAGE) break;
  }
  return items;
}

function entriesOf(servers: Server[], lines: Line[]): Entry[] {
  const statuses = new Map(servers.map(({ id, status }) => [id, status]));
  const counts = new Map<string, number>();
  for (const { server } of lines) counts.set(server.id, (counts.get(server.id) ?? 0) + 1);
  const entries = lines.map(({ server, port }) => ({
    server,
    port,
    status: statuses.get(server.id),
    several: (counts.get(server.id) ?? 0) > 1,
  }));
  return entries.sort((a, b) => a.server.name.localeCompare(b.server.name) || a.port - b.port);
}

function itemOf({ server, port, status, several }: Entry, pick?: (place: Place) => void): HTMLElement {
  const [item, link, name, state] = ['li', 'a', 'bdi', 'span'].map((tag) => document.createElement(tag));
  if (!item || !(link instanceof HTMLAnchorElement) || !name || !state) throw new Error('no elements');
  link.href = root() + consolePath(server.id, port);
  name.textContent = server.name;
  const ofPort = several || port !== 0 ? ` port ${port}` : '';
  state.textContent = status ? WORDS[status] : '';
  state.className = 'state';
  state.dataset['tone'] = (status && TONES[status]) ?? 'off';
  link.append(name, ofPort, ' ', state);
  if (pick) {
    link.addEventListener('click', (event) => {
      event.preventDefault();
      pick({ server: server.id, port });
    });
  }
  if (link.pathname === location.pathname) link.ariaCurrent = 'page';
  item.append(link);
  return item;
}
