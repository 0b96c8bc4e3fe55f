// What the tests of the servers page stand on: a browser, an API, and the page's parts.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach } from 'node:test';

import { launch, open, see } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { TOKEN, id, line, server, session, startApi } from './servers.mjs';

export { PHONE };

export const DESKTOP = { viewport: { width: 1280, height: 800 } };

export let browser;
export let api;
export let pages;

before(async () => {
  browser = await launch();
});
beforeEach(async () => {
  pages = [];
  api = await startApi();
});
afterEach(async () => {
  // Chromium reports every answer that is no success; those are what some tests are about.
  const faults = pages.flatMap((page) => page.faults).filter((text) => !text.includes('status of'));
  try {
    await Promise.all(pages.map((page) => page.context().close()));
  } finally {
    // What still listens would keep the file from ending.
    await api.stop();
  }
  assert.deepEqual(faults, []);
});
after(() => browser.close());

export const button = (page, name) => page.getByRole('button', { name, exact: true });
export const link = (page, name) => page.getByRole('link', { name, exact: true });
export const item = (page, name) => page.getByRole('menuitem', { name });
export const alert = (page, text) => page.getByRole('alert').filter({ hasText: text });
export const status = (page, text) => page.getByRole('status').filter({ hasText: text });
export const tokenField = (page) => page.getByLabel('API token');
export const filter = (page) => page.getByRole('searchbox', { name: 'Filter by name, text or user' });

/** The row of a port, as `web-1, port 0`. */
export const row = (page, name) =>
  page.getByRole('row').filter({ has: page.getByRole('rowheader', { name, exact: true }) });

/** A cell of a row, by the heading of its column. */
export const cell = (page, name, column) => {
  const columns = ['State', 'Name', 'Port', 'Last printed line', 'Typing', 'Output'];
  return row(page, name).locator('td').nth(columns.indexOf(column));
};

/** The names of the rows in view, in order. */
export const names = (page) =>
  page.getByRole('rowheader').evaluateAll((all) => all.map((one) => one.firstElementChild.ariaLabel));

export async function visit(options = DESKTOP, address = api.url) {
  const page = await open(browser, address, options);
  pages.push(page);
  return page;
}

/** A page whose token was accepted. */
export async function enter(options) {
  const page = await visit(options);
  await tokenField(page).fill(TOKEN);
  await page.keyboard.press('Enter');
  await see(page.getByText(/^\d+ ports?/));
  return page;
}

/** Opens the menu of a row. */
export async function openMenu(page, name) {
  await button(page, `More for ${name}`).click();
  await see(page.getByRole('menu', { name: `More for ${name}` }));
}

/** One running server with one port, on which alice types and bob watches. */
export function oneServer() {
  const web = server(1);
  const alice = session(line(web));
  const bob = session(line(web), { id: id(77), user: 'bob', mode: 'watch', protocol: 'raw' });
  api.servers = [web];
  api.lines = [
    line(web, 0, { writer: { session: alice.id, user: 'alice', since: alice.since }, watchers: 1 }),
  ];
  api.sessions = [alice, bob];
  return web;
}

/** This many running servers with one port each, by name. */
export function manyServers(count) {
  api.servers = Array.from({ length: count }, (_, at) => server(at + 1));
  api.lines = api.servers.map((one) => line(one));
}

export const storage = (page) => page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));

export const focused = (page) =>
  page.evaluate(() => {
    const { activeElement } = document;
    return activeElement.ariaLabel ?? activeElement.labels?.[0]?.textContent ?? activeElement.textContent;
  });

export async function assertNoSidewaysScroll(page) {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${overflow} px beyond the edge`);
}
