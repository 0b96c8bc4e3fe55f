// URLs that are no good: each is explained in words.

import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { WebSocket } from 'ws';

import { see } from '../test/browser.mjs';
import { alert, consoleUrl, eventually, stage, status } from './story.mjs';

const at = stage();

/** What a WebSocket handshake at a console URL is answered with. */
function handshake(url) {
  const socket = new WebSocket(url.replace(/^http/, 'ws'));
  return new Promise((resolve) => {
    socket.on('unexpected-response', (request, response) => {
      resolve(response.statusCode);
      request.destroy();
    });
    socket.on('error', () => {});
    socket.on('open', () => {
      socket.on('close', () => resolve(101));
      socket.close();
    });
  });
}

const EXPIRED =
  'This console URL has expired or was revoked. Get a new one: serialproxy get-serial-console';

test('a token that nobody gave out is explained in words', async () => {
  const url = new URL(await consoleUrl());
  url.searchParams.set('token', randomUUID());
  const page = await at.open(url.href);
  await see(alert(page, EXPIRED));
  await see(status(page, 'closed: URL expired'));
});

test('a token that has expired is explained in words', async () => {
  const url = await consoleUrl();
  await eventually('the token expires', async () => (await handshake(url)) === 401);
  const page = await at.open(url);
  await see(alert(page, EXPIRED));
});
