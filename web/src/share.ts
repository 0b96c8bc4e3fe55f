// Shares the console with people who have no login: makes links, lists the live ones, and revokes them. A user without
// a login gets only the session's watch link, in actions.ts.

import { call } from './calls';
import { buttons, openDialog } from './dialog';
import { button, make } from './elements';
import type { Hello } from './messages';
import { named } from './names';
import { count } from './times';
import { describeTime } from './words';

/** Milliseconds between two updates of the list while the dialog is open. */
const AGAIN = 5000;

const LIFETIMES: [[number, string], ...[seconds: number, words: string][]] = [
  [600, '10 minutes'],
  [3600, '1 hour'],
  [86_400, '1 day'],
];

type Mode = 'watch' | 'write';

interface Link {
  id: string;
  mode: Mode;
  user: string;
  created: string;
  expires: string;
  sessions: number;
}

interface Links {
  links: Link[];
  /** Maximum lifetime of a link in seconds; 0 if sharing is turned off. */
  longest: number;
}

const WORDS: Record<Mode, string> = { watch: 'Watching', write: 'Typing' };

/** Opens the dialog. `copy` returns whether it copied the text. */
export function share({ server, port, can }: Hello, copy: (text: string) => Promise<boolean>): void {
  const path = `v1/lines/${server.id}/${port}/links`;
  let longest = Infinity;
  const may = choice('They may', can.includes('write') ? [['watch', 'watch'], ['write', 'type']] : [['watch', 'watch']]);
  const lasts = choice('For', LIFETIMES.map(([seconds, words]) => [String(seconds), words]));
  const submit = make('button', '', 'Copy new link');
  const form = make('form', 'share', may.label, lasts.label, submit);
  const said = make('p', 'said');
  said.role = 'status';
  const list = make('ul', 'links');
  list.ariaLabel = 'Live links';
  const end = button('Close', () => dialog.close());
  const text = 'Whoever has the link can open this console without a login, until the link ends or you revoke it.';
  const content = [make('h2', '', `Share ${named(server.name)}:${port}`), make('p', '', text), form, said];
  const dialog = openDialog('Share', [...content, make('h3', '', 'Live links'), list, buttons(end)], may.select);

  async function show(): Promise<void> {
    const listed = await call<Links>('GET', path);
    longest = listed.longest;
    form.hidden = longest === 0;
    if (longest === 0) said.textContent = 'Sharing is turned off here.';
    for (const option of lasts.select.options) option.disabled = Number(option.value) > longest;
    if (longest < LIFETIMES[0][0] && lasts.select.length === LIFETIMES.length) {
      lasts.select.prepend(new Option(`${longest} seconds`, String(longest), true, true));
    }
    const focused = document.activeElement?.id;
    const rows = listed.links.map((link) => row(link, () => void attempt(() => revoke(link))));
    list.replaceChildren(...(rows.length > 0 ? rows : [make('li', 'none', 'None.')]));
    // The list was replaced: the focus returns to the same button.
    if (focused) document.getElementById(focused)?.focus();
  }

  async function create(): Promise<void> {
    const wanted = { mode: may.select.value, seconds: Number(lasts.select.value) };
    const { url } = await call<{ url: string }>('POST', path, wanted);
    if (await copy(url)) said.textContent = 'Copied. The link is not shown again.';
    else said.replaceChildren('Copy the link now, it is not shown again: ', make('code', '', url));
    await show();
  }

  async function revoke({ id }: Link): Promise<void> {
    end.focus();
    await call('DELETE', `${path}/${id}`);
    said.textContent = 'Revoked. The sessions that it opened end now.';
    await show();
  }

  let isBusy = false;

  async function attempt(what: () => Promise<void>): Promise<void> {
    // A disabled button would lose the focus, so further presses are ignored instead.
    if (isBusy) return;
    isBusy = true;
    try {
      await what();
    } catch (error) {
      said.textContent = error instanceof Error ? error.message : String(error);
    }
    isBusy = false;
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void attempt(create);
  });
  void attempt(show);
  const again = setInterval(() => void show().catch(() => undefined), AGAIN);
  void dialog.closed.then(() => clearInterval(again));
}

function row({ id, mode, user, created, expires, sessions }: Link, onRevoke: () => void): HTMLElement {
  const now = new Date();
  const [made, ends] = [describeTime(created, now), describeTime(expires, now)];
  const revoke = button('Revoke', onRevoke);
  revoke.id = `revoke-${id}`;
  revoke.ariaLabel = `Revoke the link for ${WORDS[mode].toLowerCase()} that ${named(user)} made at ${made}`;
  const words = make('span', '', make('b', '', WORDS[mode]), `, ${count(sessions, 'session')} open`, make('small', '', `by ${named(user)}, ${made} to ${ends}`));
  return make('li', '', words, revoke);
}

interface Choice {
  label: HTMLElement;
  select: HTMLSelectElement;
}

function choice(name: string, choices: [value: string, words: string][]): Choice {
  const select = make('select', '', ...choices.map(([value, words]) => new Option(words, value)));
  return { label: make('label', '', name, select), select };
}
