// Opens a console in a tab of its own.

import type { Api, Line } from './api';

/** A console's tab, or its URL when the browser did not allow a tab. */
export type Opened = { tab: Window } | { url: string };

/**
 * Has to be called in the click itself: browsers allow a new tab only there, so it is opened before
 * its address is known.
 */
export async function openConsole(api: Api, line: Line, watch: boolean): Promise<Opened> {
  const tab = window.open('', '_blank');
  if (tab) cutOff(tab, line);
  let url: string;
  try {
    url = await api.consoleUrl(line, watch);
  } catch (fault) {
    tab?.close();
    throw fault;
  }
  if (!tab || tab.closed) return { url };
  tab.location.replace(url);
  return { tab };
}

/** A tab that a page opens gets a copy of its storage, with the API token, and a way back to it. */
function cutOff(tab: Window, { server, port }: Line): void {
  tab.document.title = `Opening ${server.name}…`;
  tab.document.body.textContent = `Opening port ${port} of ${server.name}…`;
  try {
    tab.sessionStorage.clear();
  } catch {
    // Storage is switched off: there is no copy.
  }
  tab.opener = null;
}
