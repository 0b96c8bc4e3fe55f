// What the guest echoes is painted by the frame after its arrival: the page adds no wait of its own to typing.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { blank, see } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const KEYS = 'the quick brown fox jumps';

/** Runs in the page before it: counts the frames from the arrival of bytes until they are drawn. */
function countFrames() {
  window.counts = [];
  window.wanted = '';
  const drawn = () => document.querySelector('.xterm-rows').textContent.replaceAll('\xa0', ' ').includes(window.wanted);
  const arrive = () => {
    let frames = 0;
    const { port1, port2 } = new MessageChannel();
    // Comes after all that draws in the frame in which it is sent.
    port1.onmessage = () => {
      if (drawn()) window.counts.push(frames);
      else next();
    };
    const next = () =>
      requestAnimationFrame(() => {
        frames += 1;
        port2.postMessage('');
      });
    next();
  };
  window.WebSocket = class extends WebSocket {
    constructor(...parameters) {
      super(...parameters);
      this.addEventListener('message', ({ data }) => typeof data !== 'string' && window.wanted && arrive());
    }
  };
}

test('an echo is painted within one frame of its arrival', async (t) => {
  const page = await blank(at.browser);
  at.pages.push(page);
  await page.addInitScript(countFrames);
  await page.goto(at.proxy.url());
  const session = await at.proxy.admit();
  await see(page.getByText('you are typing'));
  session.socket.on('message', (data, binary) => binary && session.print(data));
  for (const [index, key] of [...KEYS].entries()) {
    await page.evaluate((wanted) => (window.wanted = wanted), KEYS.slice(0, index + 1).trimEnd());
    await page.keyboard.press(key === ' ' ? 'Space' : key);
    await page.waitForFunction((count) => window.counts.length === count, index + 1);
  }
  const frames = await page.evaluate(() => window.counts);
  t.diagnostic(`painted in frame ${frames.join(' ')} after the arrival`);
  // A busy machine begins a frame before the page has read what arrived: that is no wait of the page.
  const [median] = frames.toSorted((a, b) => a - b).slice(frames.length / 2);
  assert.equal(median, 1);
});
