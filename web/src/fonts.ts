// The fonts of the terminal that this browser has.

/** What the terminal is written in where nobody chose a font. */
const USUAL_FONT =
  'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** Fonts for terminals that systems have, or that people install. */
const KNOWN = [
  ...['Cascadia Mono', 'Consolas', 'Courier New', 'DejaVu Sans Mono', 'Fira Code', 'Hack', 'IBM Plex Mono', 'Inconsolata'],
  ...['Iosevka', 'JetBrains Mono', 'Liberation Mono', 'Menlo', 'Monaco', 'Noto Sans Mono', 'SF Mono', 'Source Code Pro'],
  ...['Terminus', 'Ubuntu Mono'],
];

/** Those of them that are there: a text in a font that is not there is as wide as in the one that stands for it. */
export function fontsHere(): string[] {
  const context = document.createElement('canvas').getContext('2d');
  if (!context) return [];
  const width = (font: string): number => {
    context.font = `40px ${font}`;
    return context.measureText('mmmiiiWWW').width;
  };
  return KNOWN.filter((font) => ['serif', 'sans-serif'].every((other) => width(`"${font}", ${other}`) !== width(other)));
}

/** As CSS writes it. Nothing that was kept may be more than a name. */
export function fontFamily(name: string | undefined): string {
  return name !== undefined && KNOWN.includes(name) ? `"${name}", ${USUAL_FONT}` : USUAL_FONT;
}
