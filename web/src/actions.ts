// Everything that the user can do on the terminal page, in one list. Header, menus, palette, help and keyboard are
// generated from it.
//
// To add an action, add an entry below: an id, a name, where it is shown (`place`: a menu, or `bar` for a button of the
// header; without one it is in palette and help only), what it does (`run`) and, if it is not always possible, when it
// is (`state`). In a menu, entries have the order of this list, and those of one `section` form a group. `shortcut:
// 'Ctrl+Shift+X'` assigns a key, which the guest then no longer gets. If the entry needs a part of the page, add that
// to `Page`. If `state` or `name` depend on something besides the view, that part calls `actions.refresh()` after a
// change. The fields are explained at `Action` in action.ts.

import type { Action, Actions, State } from './action';
import { ask } from './ask';
import type { Bell } from './bell';
import type { Clipboard } from './clipboard';
import { watchCommand } from './commands';
import { fontsHere } from './fonts';
import type { GuestSize } from './guest-size';
import { openHelp } from './help';
import type { KeyBar } from './key-bar';
import type { Landmark } from './landmarks';
import { whyNoCommand } from './machine';
import type { Command, Machine } from './machine';
import { moveOn } from './move';
import { openPalette } from './palette';
import type { Past } from './past';
import type { Search } from './search';
import type { Session } from './session';
import type { Settings } from './settings';
import { share } from './share';
import type { Site } from './site';
import type { Screen } from './terminal';
import { openTextSheet } from './text-sheet';
import { COLORS, LIGHTS } from './theme';
import type { Theme } from './theme';
import { STEPS, isTile, tellAround } from './tile';
import type { Tools } from './tools';
import type { View } from './view';

/** The parts of the page that carry out the actions. */
export interface Page {
  bell: Bell;
  clipboard: Clipboard;
  guestSize: GuestSize;
  keyBar: KeyBar;
  machine: Machine;
  past: Past;
  screen: Screen;
  search: Search;
  session: Session;
  settings: Settings;
  site: Site;
  theme: Theme;
  tools: Tools;
  /** Tells the guest the window's size. */
  fit(): void;
  /** Sends keys to the guest. */
  press(text: string): void;
}

export function actionsOf(page: Page, actions: () => Actions): Action[] {
  const { bell, clipboard, machine, past, screen, search, session, settings, site, theme, tools } = page;
  return [
    // Buttons of the header.
    {
      id: 'find',
      name: 'Search',
      place: 'bar',
      icon: 'search',
      shortcut: 'Ctrl+Shift+F',
      state: () => ({ checked: search.isOpen }),
      run: () => search.toggle(),
    },
    { id: 'copy', name: 'Copy', place: 'bar', icon: 'copy', shortcut: 'Ctrl+Shift+C', run: () => clipboard.copy() },
    {
      id: 'paste',
      name: 'Paste',
      place: 'bar',
      icon: 'paste',
      shortcut: 'Ctrl+Shift+V',
      // On this key, the browser itself pastes into the terminal, which needs no permission.
      native: true,
      state: () => possible(session.noPaste),
      run: () => clipboard.paste(),
    },

    // Other consoles and pages.
    {
      id: 'switch',
      name: 'Switch server…',
      place: 'places',
      shortcut: 'Ctrl+Shift+O',
      state: () => present(site.mayReopen),
      run: () => site.switch(),
    },
    {
      id: 'beside',
      name: 'Show another beside it…',
      place: 'places',
      state: () => present(site.mayReopen && !isTile),
      run: ({ hello }) => hello && site.showBeside(hello),
    },
    {
      id: 'all-servers',
      name: 'All servers',
      place: 'places',
      state: () => present(site.hasServers),
      run: () => site.leave(),
    },
    {
      id: 'log-out',
      name: 'Log out',
      place: 'places',
      state: () => present(site.mayLogOut),
      run: () => site.logOut(),
    },

    // Share.
    {
      id: 'share-link',
      name: 'Share…',
      place: 'share',
      // Only a login can list and revoke links.
      state: ({ hello }) => {
        if (!site.mayReopen || hello?.nova || hello?.shared) return 'absent';
        return possible(hello ? undefined : 'you are not connected');
      },
      run: ({ hello }) => hello && share(hello, (text) => clipboard.write(text)),
    },
    {
      id: 'bell',
      name: () => `Notify me${bell.isOn ? ' (on)' : ''}…`,
      place: 'share',
      section: 'bell',
      run: ({ hello }) => bell.open(hello ? `${hello.server.name}:${hello.port}` : 'this console'),
    },
    {
      id: 'copy-link',
      name: 'Copy watch link',
      place: 'share',
      state: ({ hello, attachment }) => {
        if (hello?.nova || hello?.shared) return 'absent';
        if (!attachment) return { why: 'you are not connected' };
        return possible(attachment.hello.can.includes('write') ? undefined : 'you may only watch');
      },
      run: () => session.request({ type: 'link' }),
    },
    {
      id: 'copy-watch',
      name: 'Copy watch command',
      place: 'share',
      state: ({ hello }) => (hello?.nova ? 'absent' : possible(hello ? undefined : 'you are not connected')),
      run: ({ hello }) => hello && clipboard.copyWords(watchCommand(hello)),
    },

    // The machine.
    command('break', 'Send break', 'send', () => machine.send({ type: 'break' })),
    command('sysrq', 'Send SysRq…', 'send', () => machine.sysrq()),
    command('nmi', 'Send NMI…', 'send', () => machine.power('nmi')),
    command('start', 'Start', 'power', () => machine.power('start')),
    command('pause', 'Pause…', 'power', () => machine.power('pause')),
    command('resume', 'Resume', 'power', () => machine.power('resume')),
    command('reboot', 'Reboot…', 'power', () => machine.power('reboot')),
    command('stop', 'Stop…', 'power', () => machine.power('stop')),
    command('reset', 'Reset…', 'power', () => machine.power('reset')),

    // How the page looks.
    { id: 'larger', name: 'Larger font', place: 'view', stays: true, run: () => (screen.fontSize += 1) },
    { id: 'smaller', name: 'Smaller font', place: 'view', stays: true, run: () => (screen.fontSize -= 1) },
    {
      id: 'font',
      name: 'Font…',
      place: 'view',
      run: () => askForFont(page),
    },
    {
      id: 'line-height',
      name: () => `Line height: ${settings.lineHeight.value}`,
      place: 'view',
      stays: true,
      run: () => {
        settings.lineHeight.next();
        screen.applyLook(theme.terminal);
      },
    },
    ...choices('Theme', COLORS, () => theme.colors, (colors) => theme.setColors(colors)),
    ...choices('Light or dark', LIGHTS, () => theme.light, (light) => theme.setLight(light)),
    {
      id: 'read-out',
      name: 'Screen reader mode',
      place: 'view',
      section: 'read',
      stays: true,
      state: () => ({ checked: screen.readOut() }),
      run: () => screen.readOut(true),
    },
    {
      id: 'sizes',
      name: 'Sizes in the footer',
      place: 'view',
      section: 'read',
      stays: true,
      state: () => (page.guestSize.hasRoom ? { checked: settings.sizes.value === 'shown' } : 'absent'),
      run: () => page.guestSize.toggle(),
    },

    {
      id: 'times',
      name: 'Arrival times',
      place: 'view',
      section: 'read',
      stays: true,
      state: () => ({ checked: past.arrivals.on }),
      run: () => past.toggleTimes(),
    },

    // Places in the output.
    {
      id: 'go-back',
      name: 'Previous boot',
      state: () => present(past.timeline.exists),
      run: () => past.timeline.goBack(),
    },
    { id: 'go-on', name: 'Next boot', state: () => present(past.timeline.exists), run: () => past.timeline.goOn() },
    landmark(past, 'panic', 'Last kernel panic'),
    landmark(past, 'login', 'Last login prompt'),
    { id: 'end', name: 'End of the output', run: () => screen.term.scrollToBottom() },

    // Keys that the browser or this page handles itself, and the bytes that the guest gets for them.
    key(page, 'ctrl-w', 'Ctrl+W', '\x17'),
    key(page, 'ctrl-t', 'Ctrl+T', '\x14'),
    key(page, 'ctrl-n', 'Ctrl+N', '\x0e'),
    key(page, 'ctrl-q', 'Ctrl+Q', '\x11'),
    key(page, 'shift-f6', 'Shift+F6', '\x1b[17;2~'),
    {
      id: 'key-bar',
      name: 'Key bar',
      place: 'keyboard',
      section: 'settings',
      stays: true,
      state: () => ({ checked: page.keyBar.wanted }),
      run: () => page.keyBar.toggle(),
    },
    setting(page, 'backspace', 'Backspace sends'),
    setting(page, 'enter', 'Enter sends'),
    setting(page, 'newline', 'Line feed'),

    // The menu More.
    {
      id: 'fit',
      name: 'Fit guest to window',
      place: 'more',
      note: 'types stty',
      shortcut: 'Ctrl+Shift+S',
      state: () => possible(session.noPaste),
      run: () => page.fit(),
    },
    {
      id: 'release',
      name: 'Stop typing',
      place: 'more',
      state: ({ attachment }) => possible(attachment?.writes ? undefined : 'you are not typing'),
      run: () => machine.send({ type: 'pen', do: 'release' }),
    },
    {
      id: 'copy-screen',
      name: 'Copy screen',
      place: 'more',
      section: 'save',
      run: () => clipboard.copy(screen.text(screen.shown.from, screen.shown.to)),
    },
    {
      id: 'select-text',
      name: 'Select text…',
      place: 'more',
      section: 'save',
      run: () => openTextSheet(screen, (text) => void clipboard.copy(text)),
    },
    { id: 'pop-out', name: 'Open in new window', place: 'more', section: 'save', run: () => tools.popOut() },
    { id: 'download', name: 'Download text', place: 'more', section: 'save', run: (view) => tools.download(view) },
    {
      id: 'download-history',
      name: 'Download history',
      place: 'more',
      section: 'save',
      state: ({ attachment }) => possible(attachment?.hello.resume === undefined ? 'you are not connected' : undefined),
      run: (view) => tools.downloadHistory(view),
    },
    {
      id: 'palette',
      name: 'All actions…',
      place: 'more',
      section: 'help',
      shortcut: () => settings.paletteKey.value,
      outside: 'F1',
      run: () => openPalette(actions(), () => screen.term.focus()),
    },
    { id: 'palette-key', name: 'Key of “All actions”…', run: () => askForKey(settings, actions()) },
    {
      id: 'help',
      name: 'Help: keys',
      place: 'more',
      section: 'help',
      outside: '?',
      run: () => openHelp(actions()),
    },
    {
      id: 'move',
      name: 'Leave the terminal, or come back',
      shortcut: 'Shift+F6',
      run: () => moveOn(() => (isTile ? tellAround({ tile: 'step', by: 0 }) : screen.term.focus())),
    },
    ...(isTile ? TILES : []),
    {
      id: 'reconnect',
      name: 'Reconnect',
      place: 'more',
      section: 'end',
      run: () => {
        screen.focus();
        session.reconnect();
      },
    },
    {
      id: 'leave',
      name: 'Leave',
      place: 'more',
      section: 'end',
      state: ({ attachment }) => possible(attachment ? undefined : 'you are not connected'),
      run: () => session.leave(),
    },
  ];
}

function possible(why: string | undefined): State {
  return why === undefined ? 'available' : { why };
}

function present(isThere: boolean): State {
  return isThere ? 'available' : 'absent';
}

/** tile.ts handles these keys itself, so that they also work in a tile without a console. */
const TILES: Action[] = STEPS.map(({ by, ...step }) => ({ ...step, native: true, run: () => tellAround({ tile: 'step', by }) }));

/**
 * A command to the machine. It is absent without the permission `power`, which nobody has on static lines and Nova's
 * servers; these have no break either.
 */
function command(id: Command, name: string, section: string, run: () => unknown): Action {
  const state = ({ attachment }: View): State =>
    attachment?.mayPower ? possible(whyNoCommand(id, attachment)) : 'absent';
  return { id, name, place: 'machine', section, state, run };
}

function landmark({ timeline }: Past, id: Landmark, name: string): Action {
  const state = (): State => {
    if (!timeline.exists) return 'absent';
    return possible(timeline.has(id) ? undefined : 'the terminal shows none');
  };
  return { id, name, place: 'more', section: 'go', state, run: () => timeline.goTo(id) };
}

function key({ press, screen }: Page, id: string, name: string, text: string): Action {
  return {
    id,
    name: `Send ${name}`,
    place: 'keyboard',
    state: ({ takesInput, attachment }) =>
      possible(takesInput ? undefined : attachment ? 'you are watching' : 'you are not connected'),
    run: () => {
      press(text);
      screen.focus();
    },
  };
}

/** An action that switches a setting to its next value. */
function setting({ screen, settings }: Page, id: 'backspace' | 'enter' | 'newline', name: string): Action {
  return {
    id,
    name: () => `${name} ${settings[id].value}`,
    place: 'keyboard',
    section: 'settings',
    stays: true,
    run: () => {
      settings[id].next();
      screen.applySettings();
    },
  };
}

/** A section of the menu View with mutually exclusive choices. */
function choices<T extends string>(
  section: string,
  names: Record<T, string>,
  chosen: () => T,
  choose: (one: T) => void,
): Action[] {
  return (Object.keys(names) as T[]).map((one) => ({
    id: `${section}-${one}`,
    name: `${section}: ${names[one]}`,
    short: names[one],
    place: 'view',
    section,
    isChoice: true,
    stays: true,
    state: () => ({ checked: chosen() === one }),
    run: () => choose(one),
  }));
}

async function askForFont({ screen, settings, theme }: Page): Promise<void> {
  const answer = await ask({
    title: 'Font of the terminal',
    text: 'These fonts are on this computer.',
    yes: 'Use it',
    choice: 'Font',
    choices: [['', "The browser's"], ...fontsHere().map((font): [string, string] => [font, font])],
    chosen: settings.font ?? '',
  });
  if (!answer) return;
  settings.font = answer.choice || undefined;
  screen.applyLook(theme.terminal);
}

async function askForKey({ paletteKey }: Settings, actions: Actions): Promise<void> {
  const answer = await ask({
    title: 'Key of the list of all actions',
    text: 'Browsers keep some keys for themselves. F1 works too, outside the terminal.',
    yes: 'Use it',
    choice: 'Key',
    choices: paletteKey.values.map((key) => [key, key]),
    chosen: paletteKey.value,
  });
  if (!answer) return;
  paletteKey.set(answer.choice);
  actions.refresh();
}
