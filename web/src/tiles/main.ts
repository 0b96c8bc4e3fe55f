// Consoles side by side: up to nine, each in a frame with the page of that console. The address names them.

import '../base.css';
import './style.css';

import { element } from '../elements';
import { MOST_TILES, loginPage, tilePlaces, tilesPath } from '../places';
import type { Place } from '../places';
import { openSwitcher } from '../switcher';
import { Theme } from '../theme';
import { stepOf } from '../tile';
import type { FromTile } from '../tile';
import { Broadcast } from './broadcast';
import { Tile } from './tile';

const broadcast = new Broadcast();
const place = element('tiles', HTMLElement);
let tiles: Tile[] = [];

new Theme();
on('add', () => void openSwitcher('Add a console', add));
on('broadcast', () => void broadcast.ask(tiles));
addEventListener('message', ({ source, origin, data }) => {
  const tile = tiles.find(({ frame }) => frame.contentWindow === source);
  if (tile && origin === location.origin) hear(tile, data as FromTile);
});
// These events come when the focus moves into a frame, or out of it.
for (const type of ['focus', 'blur']) addEventListener(type, () => setTimeout(showActive));
document.addEventListener('focusin', showActive);
document.addEventListener('keydown', (event) => {
  const by = stepOf(event);
  if (by === undefined || document.querySelector('dialog[open]')) return;
  event.preventDefault();
  const here = tiles.findIndex((tile) => tile.element.contains(document.activeElement));
  tiles[here < 0 ? 0 : (here + by + tiles.length) % tiles.length]?.focus();
});
for (const one of tilePlaces(location.search)) append(one);
show();

function add(one: Place): void {
  append(one);
  show();
  tiles.at(-1)?.focus();
}

function append(one: Place): void {
  if (tiles.length >= MOST_TILES || tiles.some((tile) => isSame(tile.place, one))) return;
  const tile: Tile = new Tile(one, () => close(tile));
  tiles.push(tile);
  place.append(tile.element);
}

function remove(tile: Tile): void {
  tiles = tiles.filter((other) => other !== tile);
  broadcast.leave(tile);
  tile.leave();
  show();
}

function close(tile: Tile): void {
  const at = tiles.indexOf(tile);
  remove(tile);
  const next = tiles[Math.min(at, tiles.length - 1)];
  if (next) next.focusBar();
  else element('add', HTMLElement).focus();
}

function isSame(one: Place, other: Place): boolean {
  return one.server === other.server && one.port === other.port;
}

function hear(tile: Tile, message: FromTile): void {
  const before = tile.tone;
  if (message.tile === 'typed') return broadcast.pass(tile, { tile: 'type', text: message.text });
  if (message.tile === 'pasted') return broadcast.pass(tile, { tile: 'paste', text: message.text });
  if (message.tile === 'stopped') return broadcast.pass(tile, { tile: 'stop' });
  if (message.tile === 'step') return step(tile, message.by);
  if (message.tile === 'login') return askToLogIn();
  if (message.tile === 'opened') return know(tile, message.server);
  tile.hear(message);
  broadcast.show();
  showTitle();
  if (tile.tone === 'failed' && before !== 'failed') say(`${tile.title}: ${tile.state}`);
}

/** Removes a tile whose console another tile shows under another name: a broadcast would reach its guest twice. */
function know(tile: Tile, server: string): void {
  tile.server = server;
  const other = tiles.find((one) => one !== tile && one.server === server && one.place.port === tile.place.port);
  if (!other) return;
  const wasActive = tile.isActive;
  remove(tile);
  if (wasActive) other.focus();
  say(`${other.title} is here already`);
}

/** Nobody is logged in: goes to the login, unless a console is open. */
function askToLogIn(): void {
  if (!tiles.some(({ attached }) => attached)) location.replace(loginPage());
}

/** Moves the focus to another tile, or to the buttons of this one. */
function step(from: Tile, by: -1 | 0 | 1): void {
  if (by === 0) return from.focusBar();
  const { length } = tiles;
  tiles[(tiles.indexOf(from) + by + length) % length]?.focus();
}

/** Updates what depends on the number of tiles. */
function show(): void {
  const { length } = tiles;
  place.dataset['count'] = String(length);
  element('count', HTMLElement).textContent = length === 1 ? '1 console' : `${length} consoles`;
  element('none', HTMLElement).hidden = length > 0;
  element('add', HTMLButtonElement).disabled = length >= MOST_TILES;
  element('broadcast', HTMLButtonElement).disabled = length < 2;
  const path = tilesPath(tiles.map((tile) => tile.place));
  history.replaceState(null, '', length > 0 ? path : 'consoles');
  showTitle();
}

/** The tab's title names all tiles, with the first mark that one of them has. */
function showTitle(): void {
  const mark = tiles.find((tile) => tile.mark !== '')?.mark;
  document.title = `${mark ? `${mark} ` : ''}${tiles.map(({ title }) => title).join(', ') || 'Side by side'}`;
}

function showActive(): void {
  for (const tile of tiles) tile.element.classList.toggle('active', tile.isActive);
}

function say(words: string): void {
  element('said', HTMLElement).textContent = words;
}

function on(id: string, act: () => void): void {
  element(id, HTMLButtonElement).addEventListener('click', act);
}
