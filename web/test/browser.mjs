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

/** Milliseconds after which a test gives up waiting, on the slowest machine. */
export const PATIENCE = 60_000;

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
 * An empty window. `options` are those of a browser context; with `clock` the time stands still until the test moves
 * it. The time zone and the language are fixed, so that texts with times can be compared. What the page reports as an
 * error is in `page.faults`.
 */
export async function blank(browser, { clock, ...options } = {}) {
  const context = await browser.newContext({
    locale: 'en-GB',
    timezoneId: 'UTC',
    viewport: { width: 1100, height: 700 },
    ...options,
  });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  if (clock) {
    await page.clock.install();
    // Later than the page's own time, which has gone on since, however slow the machine.
    await page.clock.pauseAt(Date.now() + 60_000);
  }
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') page.faults.push(message.text());
  });
  return page;
}

/** What the terminal holds. */
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

/**
 * What has less contrast than WCAG AA asks for: visible texts with less than 4.5:1, and edges of fields with
 * less than 3:1. What is disabled is exempt.
 */
export function faint(page) {
  return page.evaluate(() => {
    const pixel = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const rgba = (color) => {
      pixel.clearRect(0, 0, 1, 1);
      pixel.fillStyle = color;
      pixel.fillRect(0, 0, 1, 1);
      return [...pixel.getImageData(0, 0, 1, 1).data];
    };
    const linear = (part) => (part <= 10 ? part / 3294 : ((part / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (element) => {
      const color = rgba(getComputedStyle(element).backgroundColor);
      return color[3] === 255 || !element.parentElement ? color : behind(element.parentElement);
    };
    const contrast = (color, background) => {
      const [dark, light] = [rgba(color), background].map(luminance).sort((a, b) => a - b);
      return (light + 0.05) / (dark + 0.05);
    };
    const hasText = ({ childNodes }) =>
      [...childNodes].some(({ nodeType, data }) => nodeType === Node.TEXT_NODE && data.trim());
    const exempt = '.xterm *, .spoken, option, :disabled *, :disabled, [aria-disabled=true]';
    const seen = [...document.querySelectorAll('body *')].filter(
      (element) => element.checkVisibility() && !element.matches(exempt),
    );
    const texts = seen.filter(hasText).map((element) => {
      const ratio = contrast(getComputedStyle(element).color, behind(element));
      return { ratio, wanted: 4.5, name: element.textContent.trim().slice(0, 40) };
    });
    const fields = seen.filter((element) => element.matches('input, select')).map((element) => {
      const { borderTopColor } = getComputedStyle(element);
      const ratio = contrast(borderTopColor, behind(element.parentElement));
      return { ratio, wanted: 3, name: `edge of #${element.id}` };
    });
    const wrong = [...texts, ...fields].filter(({ ratio, wanted }) => ratio < wanted);
    return wrong.map(({ ratio, name }) => `${name}: ${ratio.toFixed(2)}`);
  });
}
