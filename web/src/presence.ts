// Who is attached: initials in the header, with the names on hover and focus.

import type { Attachment } from './attachment';
import { element } from './elements';
import type { Viewer } from './messages';
import { describePerson, initials } from './words';

/** Maximum number of persons that are shown by their initials: usually, and on a phone. */
const SHOWN = 4;
const SHOWN_ON_PHONES = 2;
const PHONE = matchMedia('(max-width: 480px)');

/** Maximum number of persons that the proxy names. */
const LISTED = 20;

export class Presence {
  private readonly list = element('presence', HTMLUListElement);
  private shown = '';

  show(attachment: Attachment | undefined): void {
    const { viewers = 0, who = [], hello } = attachment ?? {};
    // Hidden while nobody else is attached.
    this.list.hidden = viewers < 2;
    const persons = who.map((viewer) => personOf(viewer, hello?.session));
    const shown = JSON.stringify([viewers, persons]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.list.ariaLabel = `${viewers} attached`;
    const own = PHONE.matches ? SHOWN_ON_PHONES : SHOWN;
    const items = persons.slice(0, own).map(item);
    const more = viewers - items.length;
    if (more > 0) items.push(item(others(persons.slice(own, LISTED), more)));
    this.list.replaceChildren(...items);
  }
}

/** One entry of the list. */
interface Person {
  short: string;
  words: string;
  kind: 'typing' | 'watching' | 'lost' | 'more';
}

function personOf(viewer: Viewer, me: string | undefined): Person {
  const kind = viewer.detached ? 'lost' : viewer.mode === 'write' ? 'typing' : 'watching';
  return {
    short: initials(viewer.user),
    words: describePerson(viewer, viewer.session === me),
    kind,
  };
}

function others(known: Person[], count: number): Person {
  const names = known.map(({ words }) => words);
  const rest = count - names.length;
  if (rest > 0) names.push(names.length > 0 ? `and ${rest} more` : `${rest} more`);
  return { short: `+${count}`, words: names.join('\n'), kind: 'more' };
}

function item({ short, words, kind }: Person): HTMLLIElement {
  const made = document.createElement('li');
  const badge = document.createElement('span');
  badge.role = 'img';
  badge.ariaLabel = words;
  badge.tabIndex = 0;
  badge.className = 'person';
  badge.dataset['kind'] = kind;
  badge.textContent = short;
  const tip = document.createElement('span');
  tip.className = 'tip';
  tip.ariaHidden = 'true';
  tip.textContent = words;
  made.append(badge, tip);
  return made;
}
