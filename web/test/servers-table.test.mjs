// The table of the servers page: chips, filter, order, thousands of rows, and names that others chose.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see } from './browser.mjs';
import {
  PHONE,
  api,
  assertNoSidewaysScroll,
  button,
  cell,
  DESKTOP,
  enter,
  filter,
  focused,
  link,
  manyServers,
  names,
  row,
  status,
  visit,
} from './servers-stage.mjs';
import { id, line, server } from './servers.mjs';

/** A fleet of which each state has some. */
function mixedFleet() {
  manyServers(6);
  const [, off, failed, lost, used, fresh] = api.servers.map((one, at) => ({ one, port: api.lines[at] }));
  off.one.status = 'SHUTOFF';
  Object.assign(off.port, { state: 'waiting', cause: 'stopped', reason: 'the server is SHUTOFF' });
  Object.assign(failed.port, { state: 'failed', reason: 'connection refused' });
  lost.one.status = 'ERROR';
  used.port.writer = { session: id(50), user: 'bob', since: new Date().toISOString() };
  return fresh.port;
}

test('chips choose by state, and say how many ports each has', async () => {
  const fresh = mixedFleet();
  const page = await enter();
  fresh.offset += 10;
  await see(button(page, 'New output 1'));
  const chips = page.getByRole('group', { name: 'Show' });
  assert.deepEqual(await chips.getByRole('button').allInnerTexts(), [
    'All 6',
    'Running 3',
    'Off 1',
    'Failed 2',
    'New output 1',
    'In use 1',
  ]);
  for (const [chip, shown] of [
    ['Running 3', ['web-1', 'web-5', 'web-6']],
    ['Off 1', ['web-2']],
    ['Failed 2', ['web-3', 'web-4']],
    ['New output 1', ['web-6']],
    ['In use 1', ['web-5']],
  ]) {
    await button(page, chip).click();
    await see(page.getByText(`${shown.length} of 6 ports`).first());
    assert.deepEqual(await names(page), shown.map((name) => `${name}, port 0`));
    assert.equal(await button(page, chip).getAttribute('aria-pressed'), 'true');
    assert.equal(await button(page, 'All 6').getAttribute('aria-pressed'), 'false');
  }
  // Kept in this tab, for who comes back from a console.
  await page.reload();
  await see(page.getByText('1 of 6 ports').first());
  await button(page, 'All 6').click();
  await see(status(page, '6 ports'));
});

test('the slash goes to the filter, which takes a part of the name, of the text or of who types', async () => {
  mixedFleet();
  api.servers[0].name = 'Database';
  api.lines[5].last_line = 'Kernel panic - not syncing';
  const page = await enter();
  await page.keyboard.press('/');
  assert.equal(await focused(page), 'Filter by name, text or user');
  for (const [text, shown] of [
    ['data', ['Database, port 0']],
    ['PANIC', ['web-6, port 0']],
    ['bob', ['web-5, port 0']],
    ['web-/', []],
  ]) {
    await page.keyboard.press('Control+a');
    await page.keyboard.type(text);
    await see(status(page, `${shown.length} of 6 ports`).or(page.getByText('No port fits.')));
    assert.deepEqual(await names(page), shown);
  }
  await see(page.getByText('No port fits. Choose All, and empty the filter.'));
  await page.keyboard.press('Escape');
  await see(status(page, '6 ports'));
  assert.equal(await filter(page).inputValue(), '');
});

test('each column sorts, up and down, and says so', async () => {
  mixedFleet();
  api.servers[0].name = 'web-10';
  api.lines.forEach((one, at) => Object.assign(one, { idle: (at * 7) % 6, last_line: `${9 - at}` }));
  const page = await enter();
  const order = async () => (await names(page)).map((name) => /-(\d+)/.exec(name)[1]).join(' ');
  const header = (name) => page.getByRole('columnheader', { name });
  const sorts = (name) => header(name).getAttribute('aria-sort');
  assert.equal(await order(), '2 3 4 5 6 10', 'numbers in names count as numbers');
  assert.equal(await sorts('Name'), 'ascending');
  for (const [name, up, down] of [
    ['Name', '10 6 5 4 3 2', '2 3 4 5 6 10'],
    ['State', '3 4 2 5 6 10', '5 6 10 2 4 3'],
    ['Typing', '5 2 3 4 6 10', '2 3 4 6 10 5'],
    ['Output', '10 2 3 4 5 6', '6 5 4 3 2 10'],
  ]) {
    await button(page, name).click();
    assert.equal(await order(), up, name);
    await button(page, name).click();
    assert.equal(await order(), down, name);
    assert.equal(await sorts(name), name === 'Name' ? 'ascending' : 'descending');
  }
  await button(page, 'Last printed line').click();
  assert.equal(await order(), '6 5 4 2 10 3', 'the reason of what failed is text, too');
});

test('of thousands of ports only those in view are there, and the table stays fluid', async () => {
  manyServers(2000);
  for (const one of api.servers) api.lines.push(line(one, 1));
  const page = await enter();
  await see(page.getByText('4000 ports'));
  const table = page.getByRole('table', { name: 'Serial ports' });
  assert.equal(await table.getAttribute('aria-rowcount'), '4001');
  const drawn = () => page.getByRole('rowheader').count();
  assert.ok((await drawn()) < 60, 'rows');
  assert.equal(await page.evaluate(() => document.querySelectorAll('*').length < 2000), true);
  // Counted in the processor's time of the page alone: a busy machine does not change it.
  const spent = await meter(page);
  await page.evaluate(async () => {
    for (let step = 1; step <= 100; step += 1) {
      scrollTo(0, step * 100);
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
  });
  const scrolling = await spent();
  assert.ok(scrolling < 5000, `100 frames of scrolling take ${scrolling} ms`);
  await page.keyboard.press('/');
  await page.keyboard.type('web-1234');
  await see(status(page, '2 of 4000 ports'));
  assert.deepEqual(await names(page), ['web-1234, port 0', 'web-1234, port 1']);
  await page.keyboard.press('Escape');
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await see(row(page, 'web-2000, port 1'));
  assert.equal(await row(page, 'web-2000, port 1').getAttribute('aria-rowindex'), '4001');
  assert.ok((await drawn()) < 60, 'rows at the end');
});

test('of 2000 servers the first row is there at once', async () => {
  manyServers(2000);
  api.methods = [];
  const page = await visit(DESKTOP);
  await see(row(page, 'web-1, port 0'));
  // On a slow machine the page asks again before its work is read: that is to be little.
  api.changed = [];
  const spent = await meter(page);
  await page.reload();
  await see(row(page, 'web-1, port 0'));
  const time = await spent();
  assert.ok(time < 500, `the page works ${time} ms until then`);
});

/** Milliseconds that the page's thread works, from now on. */
async function meter(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const worked = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration').value * 1000;
  };
  const before = await worked();
  return async () => Math.round((await worked()) - before);
}

test('arrows move between rows, also to those that are not drawn, and the focus survives scrolling', async () => {
  manyServers(500);
  const page = await enter();
  await link(page, 'Open web-1, port 0').focus();
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(page), 'Open web-2, port 0');
  for (let press = 0; press < 5; press += 1) await page.keyboard.press('PageDown');
  assert.equal(await focused(page), 'Open web-52, port 0');
  const inView = () =>
    page.evaluate(() => {
      const { top, bottom } = document.activeElement.getBoundingClientRect();
      return top >= 0 && bottom <= innerHeight;
    });
  assert.ok(await inView());
  await page.keyboard.press('End');
  assert.equal(await focused(page), 'Open web-500, port 0');
  assert.ok(await inView());
  await page.evaluate(() => scrollTo(0, 0));
  await see(row(page, 'web-1, port 0'));
  assert.equal(await focused(page), 'Open web-500, port 0');
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(page), 'Open web-499, port 0');
  assert.ok(await inView());
  await page.keyboard.press('Home');
  assert.equal(await focused(page), 'Open web-1, port 0');
});

for (const [kind, options] of [
  ['a desktop', DESKTOP],
  ['a phone', PHONE],
]) {
  test(`on ${kind}, names and lines of others are text, isolated, and do not widen the page`, async () => {
    const evil = '<img src=x onerror=alert(1)>';
    const backwards = '\u202egnp.exe \u05d0\u05d1\u05d2';
    api.servers = [
      server(1, { name: evil }),
      server(2, { name: backwards }),
      server(3, { name: `a-${'very-'.repeat(50)}long-name` }),
    ];
    api.lines = api.servers.map((one) => line(one));
    api.lines[0].last_line = '<script>alert(1)</script>'.repeat(20);
    api.lines[0].writer = { session: id(50), user: `${backwards}<b>`, since: new Date().toISOString() };
    api.lines[2].state = 'failed';
    api.lines[2].reason = `no-${'x'.repeat(500)}`;
    const page = await enter(options);
    await see(row(page, `${evil}, port 0`));
    assert.equal(await page.locator('img, #rows script, #rows b').count(), 0);
    const isolated = await page.evaluate((text) => {
      const nodes = [...document.querySelectorAll('#rows *')];
      const own = nodes.filter((node) => !node.firstElementChild && node.textContent.includes(text));
      return own.every((node) => getComputedStyle(node).unicodeBidi.includes('isolate'));
    }, '\u05d0\u05d1');
    assert.ok(isolated);
    const port = await cell(page, `${backwards}, port 0`, 'Port').innerText();
    assert.match(port, /0$/);
    await assertNoSidewaysScroll(page);
    const heights = await page
      .locator('#rows .row')
      .evaluateAll((all) => all.map((one) => one.offsetHeight));
    assert.equal(new Set(heights).size, 1, String(heights));
  });
}

for (const [kind, options] of [
  ['a desktop', DESKTOP],
  ['a phone', PHONE],
]) {
  test(`on ${kind}, ports that are chosen open side by side, nine at most`, async () => {
    manyServers(12);
    const page = await enter(options);
    const choose = (number) => page.getByRole('checkbox', { name: `Choose web-${number}, port 0`, exact: true });
    await choose(3).check();
    await choose(1).check();
    await see(status(page, '2 chosen: web-3:0, web-1:0'));
    // What is chosen stays so while other rows are shown.
    await filter(page).fill('web-12');
    await choose(12).check();
    await filter(page).fill('');
    await see(status(page, '3 chosen: web-3:0, web-1:0, web-12:0'));
    await choose(1).uncheck();
    const places = [3, 12].map((number) => ['at', `${id(number)}/0`]);
    const chosen = link(page, 'Side by side');
    assert.equal(await chosen.getAttribute('href'), `consoles?${new URLSearchParams(places)}`);
    for (const number of [1, 2, 4, 5, 6, 7, 8]) await choose(number).check();
    await see(status(page, '9 chosen, the most'));
    assert.equal(await choose(9).isDisabled(), true);
    await assertNoSidewaysScroll(page);
    await button(page, 'Choose none').click();
    await chosen.waitFor({ state: 'hidden' });
    assert.equal(await choose(9).isChecked(), false);
  });
}

test('a port without a console cannot be chosen', async () => {
  manyServers(1);
  api.lines = [];
  const page = await enter();
  const choose = page.getByRole('checkbox', { name: 'Choose web-1' });
  assert.equal(await choose.isDisabled(), true);
  assert.equal(await choose.getAttribute('title'), 'It has no console now');
});
