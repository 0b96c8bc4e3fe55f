// Why the user should look at a pasted text before it is sent. Pure functions of the text.

/** Maximum bytes of a line that a guest's terminal accepts in canonical mode: N_TTY of Linux. */
const LINE_BYTES = 4095;

/** Maximum lines, and characters of a line, that are shown before a paste. */
const SHOWN_LINES = 6;
const SHOWN_WIDTH = 72;

/** What to tell the user before a text is pasted. */
export interface Concerns {
  title: string;
  text: string;
  preview: string;
}

/** The concerns about `text`; undefined if it can be sent without a question. */
export function concernsOf(text: string, bracketed: boolean): Concerns | undefined {
  const lines = text.replace(/\r\n?/g, '\n').split('\n');
  const ends = lines.length - 1;
  if (lines.at(-1) === '') lines.pop();
  const bytes = new TextEncoder().encode(text).length;
  const reasons = [
    ends > 0 ? aboutLines(bracketed) : '',
    aboutControls(text),
    aboutLength(lines, bracketed),
  ].filter(Boolean);
  if (reasons.length === 0) return undefined;
  const count = `${lines.length} ${lines.length === 1 ? 'line' : 'lines'}`;
  return {
    title: `Paste ${count}?`,
    text: `${count}, ${bytes} bytes. ${reasons.join(' ')}`,
    preview: preview(lines),
  };
}

function aboutLines(bracketed: boolean): string {
  return bracketed
    ? 'The program in the guest takes a paste as one piece, and should not run each line.'
    : 'A shell runs each line as soon as it arrives.';
}

function aboutControls(text: string): string {
  const controls = text.match(/[^\P{Cc}\r\n\t]/gu) ?? [];
  const tabs = text.includes('\t') ? 'It has tabs, which a shell may take for completion.' : '';
  if (controls.length === 0) return tabs;
  const named = [...new Set(controls)].slice(0, 4).map(name).join(', ');
  return `It has control characters (${named}), which act like keys. ${tabs}`.trim();
}

function aboutLength(lines: string[], bracketed: boolean): string {
  const encoder = new TextEncoder();
  // Not `Math.max(...)`, since the number of arguments of a call is limited.
  const longest = lines.reduce((most, line) => Math.max(most, encoder.encode(line).length), 0);
  if (longest <= LINE_BYTES || bracketed) return '';
  return (
    `Its longest line has ${longest} bytes. A guest that reads line by line keeps ${LINE_BYTES} ` +
    'of them, and the rest is lost.'
  );
}

/** `Ctrl+[` and the like. */
function name(control: string): string {
  const code = control.charCodeAt(0);
  return code < 32 ? `Ctrl+${String.fromCharCode(code | 64)}` : `U+00${code.toString(16)}`;
}

function preview(lines: string[]): string {
  const shown = lines.slice(0, SHOWN_LINES).map((line) => {
    const plain = line.slice(0, SHOWN_WIDTH).replace(/\t/g, '→   ').replace(/\p{Cc}/gu, picture);
    return line.length > SHOWN_WIDTH ? `${plain}…` : plain;
  });
  const more = lines.length - shown.length;
  if (more > 0) shown.push(`… and ${more} more`);
  return shown.join('\n');
}

/** `^[` and the like. */
function picture(control: string): string {
  const code = control.charCodeAt(0);
  return code < 32 || code === 127 ? `^${String.fromCharCode(code ^ 64)}` : '·';
}
