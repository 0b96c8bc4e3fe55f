// The icons: strokes on a grid of 24 by 24, in the color of the text.

const PATHS = {
  search: 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 21 21',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  paste: 'M9 3h6v4H9zM8 5H5v16h14V5h-3M9 12h6M9 16h4',
  share: 'M12 15V3M7.5 7.5 12 3l4.5 4.5M6 11H5v10h14V11h-1',
  machine: 'M4 4h16v7H4zM4 14h16v7H4zM7.5 7.5h.01M7.5 17.5h.01M12 7.5h4M12 17.5h4',
  view: 'M3 7h9M18 7h3M15 4v6M3 17h3M12 17h9M9 14v6',
  keyboard: 'M2 6h20v13H2zM6 10h.01M10 10h.01M14 10h.01M18 10h.01M7 15h10',
  more: 'M4.5 12h1M11.5 12h1M18.5 12h1',
  places: 'M4 6h16M4 12h16M4 18h16',
} as const;

export type IconName = keyof typeof PATHS;

const SVG = 'http://www.w3.org/2000/svg';

export function icon(name: IconName): SVGElement {
  const [svg, path] = [document.createElementNS(SVG, 'svg'), document.createElementNS(SVG, 'path')];
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.ariaHidden = 'true';
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}
