// The entries of a row's menu. What the user's role forbids is absent.

import { consolePath } from '../places';
import type { Line, Power } from './api';
import type { Entry } from './row-menu';
import type { Row } from './rows';
import * as words from './words';

/** What the entries do. */
export interface Deeds {
  look(): void;
  explain(why: string): void;
  log(line: Line): void;
  people(line: Line): void;
  power(power: Power): void;
}

const POWERS: [Power, string][] = [
  ['start', 'Start'],
  ['resume', 'Resume'],
  ['pause', 'Pause…'],
  ['reboot', 'Reboot…'],
  ['stop', 'Stop…'],
];

/** The entries of a row; `lines` are those of its server. */
export function entriesOf(row: Row, lines: readonly Line[], deeds: Deeds): Entry[] {
  const { server, line } = row;
  const has = (action: (typeof server.can)[number]): boolean => server.can.includes(action);
  const causes = lines.map(({ cause }) => cause);
  const power = ([power, label]: [Power, string]): Entry => {
    const why = row.underWay ? words.UNDER_WAY[row.underWay] : words.whyNot(power, server, causes);
    return { label, why, act: () => deeds.power(power) };
  };
  return [
    ...(line ? [] : [{ label: 'Open', why: row.text }]),
    ...(line && has('watch') ? watching(row, line, deeds) : []),
    ...(has('power') ? POWERS.map(power) : []),
  ];
}

function watching(row: Row, line: Line, deeds: Deeds): Entry[] {
  const used = line.watchers + (line.writer ? 1 : 0);
  return [
    { label: 'Watch', href: `${consolePath(row.server.id, line.port)}?mode=watch`, act: () => deeds.look() },
    { label: 'Log', why: line.offset > 0 ? '' : 'nothing was printed', act: () => deeds.log(line) },
    { label: 'Who is there…', why: used > 0 ? '' : 'nobody', act: () => deeds.people(line) },
    ...(line.state === 'failed' ? [{ label: 'Why it failed…', act: () => deeds.explain(row.text) }] : []),
    ...(row.unseen > 0 ? [{ label: 'Mark as seen', act: () => deeds.look() }] : []),
  ];
}
