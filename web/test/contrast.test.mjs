// That everybody can read the terminal page: contrast, in light and dark.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, faint, see, seeInTerminal } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ALL = { can: ['write', 'force', 'power'], resume: 'k' };

const button = (page, name) => page.getByRole('button', { name, exact: true });

for (const colorScheme of ['light', 'dark']) {
  test(`every text of the page has enough contrast where the system is ${colorScheme}`, async () => {
    const { page, session } = await at.attach(ALL, { colorScheme });
    session.print('error');
    await seeInTerminal(page, 'error');
    for (const menu of ['Share', 'Machine', 'View', 'Keys', 'More']) {
      await button(page, menu).click();
      assert.deepEqual(await faint(page), [], menu);
      await page.keyboard.press('Escape');
    }
    await choose(page, 'Machine', 'Send SysRq…');
    await see(page.getByRole('dialog'));
    assert.deepEqual(await faint(page), [], 'dialog');
    await page.keyboard.press('Escape');
    await button(page, 'Search').click();
    await page.getByLabel('Search for').fill('error');
    await see(page.getByText('1 of 1'));
    const stopped = { state: 'waiting', reason: 'the server is SHUTOFF', cause: 'stopped' };
    session.say({ type: 'state', ...stopped });
    session.pen('requested', { session: 'b', by: 'bob', holder: 'carol' });
    session.say({ type: 'error', message: 'this device has no break' });
    await see(button(page, 'Let them type'));
    await see(button(page, 'Start'));
    assert.deepEqual(await faint(page), [], 'bars');
    session.drop();
    await see(page.getByRole('alert'));
    assert.deepEqual(await faint(page), [], 'notice');
  });

  test(`the page without a URL has enough contrast where the system is ${colorScheme}`, async () => {
    const page = await at.page({ colorScheme }, at.proxy.url(''));
    await see(page.getByRole('heading', { name: 'This page needs a console URL' }));
    assert.deepEqual(await faint(page), []);
  });
}
