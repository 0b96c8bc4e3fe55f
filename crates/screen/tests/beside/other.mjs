// The other terminal: xterm.js without a screen, as the page has it. Reads a case a line, as JSON, and answers each
// with what differs between the terminal that got all output and the one that was painted.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(new URL('../../../../web/package.json', import.meta.url));
const { Terminal } = require('@xterm/headless');
const { Unicode11Addon } = require('@xterm/addon-unicode11');

class Screen {
  constructor({ rows, cols }) {
    this.terminal = new Terminal({ rows, cols, scrollback: 20_000, allowProposedApi: true, logLevel: 'off' });
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = '11';
    this.core = this.terminal._core;
    // Bytes that are no UTF-8 take a column each, as on the page.
    this.decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    mend(this.core);
  }

  feed(base64) {
    const text = this.decoder.decode(Buffer.from(base64, 'base64'), { stream: true });
    this.core.writeSync(text);
  }

  /** What the terminal shows and what it does with what comes next, as lines of text to compare. */
  state() {
    const { core, terminal } = this;
    const { normal, active } = core.buffers;
    const lines = rows(normal, 0, normal.lines.length).map((row, at) => `normal ${at - normal.ybase}: ${row}`);
    if (active !== normal) {
      lines.push(...rows(active, active.ybase, active.ybase + terminal.rows).map((row, at) => `alternate ${at}: ${row}`));
    }
    const { synchronizedOutputMode, ...modes } = terminal.modes;
    const { cursorStyle, cursorBlink } = core.coreService.decPrivateModes;
    lines.push(
      `cursor ${active.x} ${active.y} hidden ${core.coreService.isCursorHidden}`,
      `modes ${JSON.stringify(modes)} ${core.optionsService.rawOptions.convertEol} ${core.coreMouseService.activeEncoding}`,
      `cursor style ${cursorStyle} ${cursorBlink} ${core.optionsService.rawOptions.cursorBlink}`,
      `charsets ${charsets(core)}`,
      `attributes ${attributes(core._inputHandler._curAttrData)}`,
      ...(active === normal ? [normal] : [normal, active]).map(
        (buffer) => `margins ${buffer.scrollTop} ${buffer.scrollBottom} tabs ${Object.keys(buffer.tabs).filter((at) => at < terminal.cols)}`,
      ),
      ...(active === normal ? [normal] : [normal, active]).map((buffer) => `saved ${JSON.stringify(saved(buffer))}`),
    );
    return lines;
  }

  /** Where the part around the cursor begins. */
  place({ rows: height, cols: width }) {
    const { active } = this.core.buffers;
    const { rows: ofRows, cols: ofCols } = this.terminal;
    const place = (at, of, room) => (at < room ? 0 : Math.min(at - Math.floor(room / 2), of - room));
    return [place(Math.min(active.x, ofCols - 1), ofCols, width), place(active.y, ofRows, height)];
  }

  /** A part, and the cursor in it. */
  part({ rows: height, cols: width }, [left, top]) {
    const { active } = this.core.buffers;
    const x = Math.min(active.x, this.terminal.cols - 1);
    return [
      ...rows(active, active.ybase + top, active.ybase + top + height, left, width),
      `cursor ${x - left} ${active.y - top}`,
      `attributes ${attributes(this.core._inputHandler._curAttrData)}`,
    ];
  }
}

/** Mends what xterm.js does otherwise than the terminals that it follows (DEC's manuals, xterm). */
function mend(core) {
  const handler = core._inputHandler;
  const buffer = () => core.buffers.active;
  const charsetService = core._charsetService;
  // DECSC and DECRC: the place is one of the screen, not of the scrollback, and all of SGR and of the charsets counts.
  handler.saveCursor = () => {
    const { x, y } = buffer();
    buffer().saved = {
      x: Math.min(x, core.cols - 1),
      y,
      attributes: handler._curAttrData.clone(),
      charsets: [...charsetService._charsets],
      level: charsetService.glevel,
    };
    return true;
  };
  handler.restoreCursor = () => {
    const { x, y, attributes, charsets, level } = buffer().saved ?? { x: 0, y: 0, charsets: [], level: 0 };
    [buffer().x, buffer().y] = [x, y];
    if (attributes) {
      handler._curAttrData = attributes.clone();
    } else {
      handler._processSGR0(handler._curAttrData);
    }
    charsetService._charsets = [...charsets];
    charsetService.setgLevel(level);
    handler._restrictCursor();
    return true;
  };
  // Neither a character without a width, and without one before it to combine with, goes beyond the last column, nor a
  // wide one that finds no room; nothing combines with the latter.
  const print = handler.print;
  handler.print = (data, start, end) => {
    for (let at = start; at < end; at++) {
      const width = core.unicodeService.wcwidth(data[at]);
      const alone = width === 0 && !handler._parser.precedingJoinState;
      if (width === 2 && buffer().x + 2 > core.cols && !core.coreService.decPrivateModes.wraparound) {
        buffer().x = core.cols - 1;
        handler._parser.precedingJoinState = 0;
      } else if (!alone || buffer().x < core.cols) {
        print.call(handler, data, at, at + 1);
      }
    }
  };
  const softReset = handler.softReset;
  handler.softReset = (params) => {
    buffer().saved = undefined;
    return softReset.call(handler, params);
  };
  // RIS, as the page has it, keeps what was printed. It resets what xterm.js keeps elsewhere, too.
  handler.fullReset = () => {
    const { normal } = core.buffers;
    let end = normal.lines.length;
    while (end > normal.ybase && normal.lines.get(end - 1).getTrimmedLength() === 0) end -= 1;
    const kept = Array.from({ length: end }, (_, at) => normal.lines.get(at));
    handler._parser.reset();
    core.reset();
    core.coreService.isCursorHidden = false;
    Object.assign(core.optionsService.options, { convertEol: false, cursorBlink: false });
    const fresh = core.buffers.normal;
    fresh.lines.splice(0, 0, ...kept);
    fresh.ybase = fresh.ydisp = kept.length;
    return true;
  };
  // ED 1 at the end of a row takes the row after it from elsewhere, or fails where there is none.
  const eraseInDisplay = handler.eraseInDisplay;
  handler.eraseInDisplay = (params, protect) => {
    if (params.params[0] !== 1 || buffer().x + 1 < core.cols) {
      return eraseInDisplay.call(handler, params, protect);
    }
    const after = buffer().lines.get(buffer().ybase + buffer().y + 1);
    handler._eraseInBufferLine(buffer().y, 0, core.cols, true);
    if (after) {
      after.isWrapped = false;
    }
    for (let y = 0; y < buffer().y; y++) {
      handler._resetBufferLine(y);
    }
    return true;
  };
  // Relative moves do not count from the margin in origin mode.
  handler._moveCursor = (x, y) => {
    handler._restrictCursor();
    buffer().x += x;
    buffer().y += y;
    handler._restrictCursor();
  };
  handler.cursorCharAbsolute = (params) => {
    buffer().x = (params.params[0] || 1) - 1;
    handler._restrictCursor();
    return true;
  };
  handler.charPosAbsolute = handler.cursorCharAbsolute;
}

function rows(buffer, from, to, left = 0, width = undefined) {
  const texts = [];
  for (let y = from; y < to; y++) {
    const line = buffer.lines.get(y);
    texts.push(cells(line, left, width ?? line.length));
  }
  return texts;
}

function cells(line, left, width) {
  let text = '';
  let look = '';
  const cell = newCell();
  let before = {};
  for (let x = left; x < left + width; x++) {
    line.loadCell(x, cell);
    const wide = x > left && line.getWidth(x - 1) === 2;
    const half = cell.getWidth() === 0 && cell.getChars() === '';
    if (half && wide) {
      continue;
    }
    // Without its second half, a wide character is not shown.
    const whole = x + 1 < left + width && line.getWidth(x + 1) === 0 && !line.hasContent(x + 1);
    const alone = cell.getWidth() === 2 && !whole;
    const shown = half || alone ? '' : cell.getChars();
    const cut = (alone && x + 1 === left + width) || (half && x === left);
    const { fg, bg, extended } = cell;
    if (cut || fg !== before.fg || bg !== before.bg || extended !== before.extended) {
      const now = cut ? '' : attributes(cell);
      text += now === look ? '' : `<${now}>`;
      look = now;
      before = cut ? {} : { fg, bg, extended };
    }
    text += shown === '' ? ' ' : shown;
  }
  return text.trimEnd();
}

let type;
function newCell() {
  // The class of cells is not exported.
  type ??= new Terminal({ allowProposedApi: true }).buffer.active.getNullCell().constructor;
  return new type();
}

function attributes(cell) {
  const underline = cell.isUnderline() ? cell.getUnderlineStyle() || 1 : 0;
  // xterm.js takes the default (SGR 59) for white.
  const white = cell.getUnderlineColor() === 0xffffff;
  const flags = ['Bold', 'Dim', 'Italic', 'Blink', 'Inverse', 'Invisible', 'Strikethrough', 'Overline'];
  return [
    color(cell.getFgColorMode(), cell.getFgColor()),
    color(cell.getBgColorMode(), cell.getBgColor()),
    ...flags.filter((flag) => cell[`is${flag}`]()),
    underline ? `underline ${underline} ${white ? '' : color(cell.getUnderlineColorMode(), cell.getUnderlineColor())}` : '',
  ].join(' ').trim();
}

function color(mode, value) {
  return mode ? `${mode >> 24}:${value}` : '';
}

function charsets(core) {
  const { charset, _charsets, glevel } = core._charsetService;
  return [charset, ...[0, 1, 2, 3].map((level) => _charsets[level])].map((set) => (set?.q ?? '') + (set?.['#'] ?? '')).join(',') + glevel;
}

function saved(buffer) {
  const { x = 0, y = 0, attributes: look, charsets: sets = [], level = 0 } = buffer.saved ?? {};
  return [x, y, look ? attributes(look) : '', [0, 1, 2, 3].map((at) => (sets[at]?.q ?? '') + (sets[at]?.['#'] ?? '')), level];
}

function differences(live, painted) {
  const found = [];
  for (let at = 0; at < Math.max(live.length, painted.length) && found.length < 8; at++) {
    if (live[at] !== painted[at]) {
      found.push(`live    ${live[at]}`, `painted ${painted[at]}`);
    }
  }
  return found;
}

/** What differs when the output so far was painted, and after what comes next. */
function compare({ rows, cols, before, painted, after }) {
  const [live, other] = [new Screen({ rows, cols }), new Screen({ rows, cols })];
  live.feed(before);
  other.feed(painted);
  const now = differences(live.state(), other.state());
  live.feed(after);
  other.feed(after);
  const later = differences(live.state(), other.state());
  return [...now.map((text) => `now: ${text}`), ...later.map((text) => `later: ${text}`)];
}

/** What differs between a painted part and that part of a larger terminal; of some output, after what comes next too. */
function compareParts({ rows, cols, large, before, painted, after, stays }) {
  const [live, other] = [new Screen(large), new Screen({ rows, cols })];
  live.feed(before);
  other.feed(painted);
  const place = live.place({ rows, cols });
  const compared = () => differences(live.part({ rows, cols }, place), other.part({ rows, cols }, [0, 0]));
  const now = compared();
  if (!stays) return now;
  live.feed(after);
  other.feed(after);
  return [...now, ...compared().map((text) => `later: ${text}`)];
}

/** Columns of all characters, as runs of equal ones. */
function widths() {
  const { unicodeService } = new Screen({ rows: 2, cols: 2 }).core;
  const runs = [];
  for (let code = 0x20; code < 0x110000; code++) {
    if ((code >= 0x7f && code < 0xa0) || (code >= 0xd800 && code < 0xe000)) continue;
    const width = unicodeService.wcwidth(code);
    if (runs.at(-1)?.[1] !== width) runs.push([code, width]);
  }
  return runs;
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const answer = request.widths ? widths() : request.large ? compareParts(request) : compare(request);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
