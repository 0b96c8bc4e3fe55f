// A dashboard's page with a console in it, as Horizon's: it comes from another host than the proxy, offers
// `binary` and `base64`, sends a carriage return when it is open and each key as a byte, and takes each
// frame for a text of its own.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { Guest, call, eventually, stage, story } from './story.mjs';

const at = stage();
let guest;
let dashboard;

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Instance console</title>
<pre id="screen"></pre>
<script>
  const url = new URLSearchParams(location.search).get('console');
  const socket = new WebSocket(url, ['binary', 'base64']);
  const send = (text) =>
    socket.send(Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff));
  let shown = Promise.resolve();
  window.texts = [];
  socket.onopen = () => send('\\r');
  socket.onclose = ({ code }) => (window.closeCode = code);
  socket.onmessage = ({ data }) => {
    shown = shown.then(async () => {
      const text = await data.text();
      window.texts.push(text);
      document.getElementById('screen').textContent += text;
    });
  };
  document.onkeydown = ({ key }) => send(key === 'Enter' ? '\\r' : key);
</script>`;

before(async () => {
  guest = await Guest.attach();
  dashboard = createServer((_, response) => {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(PAGE);
  });
  dashboard.listen(0);
  await once(dashboard, 'listening');
});
after(() => {
  guest.leave();
  dashboard.close();
});

/** The console in a dashboard on this host, by the call that Horizon makes. */
async function open(host) {
  const body = { 'os-getSerialConsole': { type: 'serial' } };
  const answer = await call('POST', `/v2.1/servers/${story.server}/action`, { body });
  const { console } = await answer.json();
  assert.equal(console.type, 'serial');
  assert.match(console.url, /^ws:\/\//);
  const { port } = dashboard.address();
  return at.open(`http://${host}:${port}/?console=${encodeURIComponent(console.url)}`);
}

const screen = (page, text) =>
  page.waitForFunction((wanted) => document.getElementById('screen').textContent === wanted, text);

test('a page of a dashboard that is allowed has a console, and its subprotocol is binary', async () => {
  const page = await open('localhost');
  await guest.hears('\r');
  assert.equal(await page.evaluate('socket.protocol'), 'binary');
  await page.keyboard.type('ls');
  await page.keyboard.press('Enter');
  await guest.hears('ls\r');
  guest.print('ls\r\nboot\r\n');
  await screen(page, 'ls\r\nboot\r\n');
});

test('characters that are printed byte by byte are whole on a page that decodes each frame', async () => {
  const page = await open('localhost');
  await guest.hears('\r');
  const text = 'Größe Übermaß 漢字かな한글 €😀 '.repeat(20);
  // A machine that stops for longer than a character is waited for may cut one: not each time.
  let printed = '';
  const isWhole = async () => {
    const before = printed.length;
    for (const byte of Buffer.from(text)) guest.print(Buffer.from([byte]));
    printed += text;
    const all = (length) => document.getElementById('screen').textContent.length >= length;
    await page.waitForFunction(all, printed.length);
    const shown = await page.evaluate(() => document.getElementById('screen').textContent);
    const whole = shown === printed;
    if (!whole) printed = shown;
    assert.ok(shown.length > before);
    return whole;
  };
  await eventually('all characters are whole', isWhole);
});

test('a lot of output that has no ASCII is whole', async () => {
  const page = await open('localhost');
  await guest.hears('\r');
  const text = '漢字かな'.repeat(100_000);
  guest.print(text);
  guest.print('\r\nend');
  await page.waitForFunction(() => document.getElementById('screen').textContent.endsWith('end'));
  const shown = await page.evaluate(() => document.getElementById('screen').textContent);
  assert.ok(shown === `${text}\r\nend`, `${shown.match(/\ufffd/g)?.length} characters are cut`);
  const frames = await page.evaluate('texts.length');
  assert.ok(frames < 1000, `${frames} frames`);
});

test('a page of another dashboard has no console', async () => {
  const page = await open('127.0.0.2');
  await page.waitForFunction('window.closeCode === 1006');
  assert.equal(page.faults.length, 1);
  assert.match(page.faults.pop(), /Error during WebSocket handshake: .*403/);
  assert.equal(guest.typed.length, 0);
});
