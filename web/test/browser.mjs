// Opens the page in Debian's Chromium, as a person would. Used by the tests here, where a script plays
// the proxy, and by those that run the real one.

import { access } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Milliseconds that anything on the page may take. */
export const PATIENCE = 15_000;

/** Starts Chromium. `flags` come on top of the usual ones. */
export async function launch(flags = []) {
  await access(EXECUTABLE);
  return chromium.launch({ executablePath: EXECUTABLE, args: [...FLAGS, ...flags] });
}

/** Opens `url` in a window of its own. */
export async function open(browser, url, options) {
  const page = await blank(browser, options);
  await page.goto(url);
  return page;
}

/**
 * An empty window. `options` are those of a browser context, and `graphics` for a machine that draws
 * WebGL by hardware, as none of ours does; the clock and the language are fixed, so
 * that texts with times can be compared. What the page reports as an error is in `page.faults`.
 */
export async function blank(browser, { graphics, ...options } = {}) {
  const context = await browser.newContext({
    locale: 'en-GB',
    timezoneId: 'UTC',
    viewport: { width: 1100, height: 700 },
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  if (graphics) await page.addInitScript(claimGraphics);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') page.faults.push(message.text());
  });
  return page;
}

/** Runs in the page: nothing says any more that a processor draws what is WebGL. */
function claimGraphics() {
  const { getExtension } = WebGL2RenderingContext.prototype;
  WebGL2RenderingContext.prototype.getExtension = function (name) {
    return name === 'WEBGL_debug_renderer_info' ? null : getExtension.call(this, name);
  };
}

/** What the terminal holds, whichever way it is drawn. */
export function terminalText(page) {
  return page.evaluate(() => window.serialproxy.text());
}

/** Waits until the terminal holds `text`. */
export async function seeInTerminal(page, text) {
  await page.waitForFunction((wanted) => window.serialproxy.text().includes(wanted), text);
}

/** How bright each device pixel of a part of the page is, from 0 to 255. */
export async function brightness(page, clip) {
  const png = (await page.screenshot({ clip })).toString('base64');
  return page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes]));
    const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
    canvas.drawImage(image, 0, 0);
    const { data } = canvas.getImageData(0, 0, image.width, image.height);
    const pixels = [];
    for (let at = 0; at < data.length; at += 4) {
      pixels.push(Math.round((data[at] + data[at + 1] + data[at + 2]) / 3));
    }
    return pixels;
  }, png);
}

/** Waits until something visible matches `locator`; names it when it doesn't come. */
export async function see(locator) {
  await locator.first().waitFor({ state: 'visible' });
}

/** Pastes as the browser does. */
export function paste(page, text) {
  return page.evaluate((pasted) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', pasted);
    const event = { clipboardData, bubbles: true, cancelable: true };
    document.querySelector('.xterm-helper-textarea').dispatchEvent(
      new ClipboardEvent('paste', event),
    );
  }, text);
}

/** Opens a menu and chooses from it. */
export async function choose(page, menu, item) {
  await page.getByRole('button', { name: menu, exact: true }).click();
  await page.getByRole('menu', { name: menu }).getByRole('menuitem', { name: item }).click();
}
