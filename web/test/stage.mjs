// What each file of tests here has: one Chromium, and a scripted proxy that is fresh for each test.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach } from 'node:test';

import { launch, open } from './browser.mjs';
import { startProxy } from './server.mjs';

/** Call once per file. After each test, no page may have reported a fault. */
export function stage(flags) {
  const stage = {
    /** Opens a page at the console URL and gives it. */
    async page(options, url = stage.proxy.url()) {
      const page = await open(stage.browser, url, options);
      stage.pages.push(page);
      return page;
    },
    /** Opens a page, lets its session in, and gives both. */
    async attach(hello, options) {
      const page = await stage.page(options);
      const session = await stage.proxy.admit(hello);
      await page.getByRole('heading', { name: 'port' }).waitFor();
      return { page, session };
    },
  };
  before(async () => {
    stage.browser = await launch(flags);
  });
  beforeEach(async () => {
    stage.pages = [];
    stage.proxy = await startProxy();
  });
  afterEach(async () => {
    const faults = stage.pages.flatMap((page) => page.faults);
    try {
      await Promise.all(stage.pages.map((page) => page.context().close()));
    } finally {
      // What still listens would keep the file from ending.
      await stage.proxy.stop();
    }
    assert.deepEqual(faults, []);
  });
  after(() => stage.browser.close());
  return stage;
}
