// The fonts for the terminal that this computer has.

/** The default font of the terminal. */
const USUAL_FONT =
  'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** Monospaced fonts that systems have, or that users install. */
const KNOWN = [
  ...['Cascadia Mono', 'Consolas', 'Courier New', 'DejaVu Sans Mono', 'Fira Code', 'Hack', 'IBM Plex Mono', 'Inconsolata'],
  ...['Iosevka', 'JetBrains Mono', 'Liberation Mono', 'Menlo', 'Monaco', 'Noto Sans Mono', 'SF Mono', 'Source Code Pro'],
  ...['Terminus', 'Ubuntu Mono'],
];

/** The installed ones of these fonts. A text in a missing font is as wide as in its fallback. */
export function fontsHere(): string[] {
  const context = document.createElement('canvas').getContext('2d');
  if (!context) return [];
  const width = (font: string): number => {
    context.font = `40px ${font}`;
    return context.measureText('mmmiiiWWW').width;
  };
  return KNOWN.filter((font) => ['serif', 'sans-serif'].every((other) => width(`"${font}", ${other}`) !== width(other)));
}

/** The value of CSS `font-family`. Unknown names are ignored: what the browser kept may be any text. */
export function fontFamily(name: string | undefined): string {
  return name !== undefined && KNOWN.includes(name) ? `"${name}", ${USUAL_FONT}` : USUAL_FONT;
}
