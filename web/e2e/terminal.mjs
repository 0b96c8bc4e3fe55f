// What `connect` left of a terminal, as xterm.js sees it.
import { strict as assert } from 'node:assert';
import headless from '@xterm/headless';

const { shown } = JSON.parse(process.env.SERIALPROXY_STORY);

const opened = () => new headless.Terminal({ cols: 80, rows: 24, allowProposedApi: true });
const write = (terminal, text) => new Promise((done) => terminal.write(text, done));
const row = (terminal, at) => terminal.buffer.active.getLine(at).translateToString(true);

const terminal = opened();
await write(terminal, shown);
const buffer = terminal.buffer.active;
assert.deepEqual(terminal.modes, opened().modes);
assert.equal(buffer.type, 'normal');

// Text is text again: without line drawing, colors, or margins that keep it from the last row.
const { cursorX, cursorY, baseY } = buffer;
await write(terminal, 'lqx');
assert.equal(row(terminal, baseY + cursorY).slice(cursorX), 'lqx');
const cell = buffer.getLine(baseY + cursorY).getCell(cursorX);
assert.ok(cell.isFgDefault() && cell.isBgDefault() && !cell.isBold() && !cell.isInverse());
await write(terminal, '\r\n'.repeat(30) + 'last');
assert.equal(row(terminal, buffer.baseY + 23), 'last');
