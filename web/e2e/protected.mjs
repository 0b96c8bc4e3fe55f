// What keeps a console URL safe: the page's headers, its policy, and that nothing comes from elsewhere.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { see, seeInTerminal } from '../test/browser.mjs';
import { Guest, assertKept, consoleUrl, eventually, stage, status, story } from './story.mjs';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

test('every file comes from the proxy, under headers that protect it', async () => {
  const url = await consoleUrl();
  const page = await at.open(url);
  await see(status(page, 'connected · you are typing'));
  guest.print('\x1b[31mred\x1b[0m \x1b[4munderlined\x1b[0m');
  await seeInTerminal(page, 'red underlined');

  const { host } = new URL(url);
  assert.deepEqual([...new Set(page.requests.map((address) => new URL(address).host))], [host]);
  const kinds = page.responses.map((response) => response.request().resourceType());
  for (const kind of ['document', 'script', 'stylesheet']) assert.ok(kinds.includes(kind), kind);
  for (const response of page.responses) {
    const headers = await response.allHeaders();
    assert.equal(headers['referrer-policy'], 'no-referrer', response.url());
    assert.equal(headers['x-content-type-options'], 'nosniff', response.url());
    assertKept(response.url(), headers);
    const policy = new Map(
      headers['content-security-policy'].split(';').map((directive) => {
        const [name, ...sources] = directive.trim().split(' ');
        return [name, sources.join(' ')];
      }),
    );
    assert.equal(policy.get('default-src'), "'none'");
    if (new URL(response.url()).pathname.startsWith('/v1/')) {
      // An answer of the API is data: no page may even frame it.
      assert.equal(policy.get('frame-ancestors'), "'none'");
      continue;
    }
    assert.equal(policy.get('script-src'), "'self'");
    assert.equal(policy.get('connect-src'), "'self'");
    assert.equal(policy.get('frame-ancestors'), story.frameAncestors);
  }
  const refererless = await Promise.all(
    page.responses.map(async (response) => (await response.request().allHeaders()).referer),
  );
  assert.deepEqual(refererless.filter(Boolean), []);
});

test('the policy stops a script that is slipped in', async () => {
  const page = await at.open(await consoleUrl());
  const violations = await page.evaluate(async () => {
    const stopped = new Promise((resolve) =>
      document.addEventListener('securitypolicyviolation', resolve),
    );
    const script = document.createElement('script');
    script.textContent = 'window.slippedIn = true';
    document.body.append(script);
    await stopped;
    return [window.slippedIn, window.violations.splice(0)];
  });
  assert.deepEqual(violations, [undefined, ['script-src-elem inline']]);
  page.faults = page.faults.filter((fault) => !fault.includes('inline script'));
});

/** A page elsewhere that frames `url`; its host name is one of two for this machine. */
async function framedBy(host, url) {
  const elsewhere = createServer((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<title>elsewhere</title><iframe src="${url}"></iframe>`);
  });
  elsewhere.listen(0, '127.0.0.1');
  await once(elsewhere, 'listening');
  const page = await at.blank();
  await page.goto(`http://${host}:${elsewhere.address().port}/`);
  await page.waitForFunction(() => document.readyState === 'complete');
  elsewhere.closeAllConnections();
  elsewhere.close();
  return page;
}

test('only who is named may frame the page', async () => {
  const allowed = await framedBy('127.0.0.1', await consoleUrl());
  await allowed.frameLocator('iframe').getByRole('status').first().waitFor();
  const refused = await framedBy('localhost', await consoleUrl());
  await eventually('the frame is refused', () =>
    refused.faults.some((fault) => fault.includes('frame-ancestors')),
  );
  assert.equal(await refused.frameLocator('iframe').getByRole('status').count(), 0);
  refused.faults = refused.faults.filter((fault) => !fault.includes('frame-ancestors'));
});
