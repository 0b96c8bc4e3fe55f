// The way back after a login: to a console of this site, and nowhere else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build } from 'esbuild';

const source = new URL('../src/places.ts', import.meta.url).pathname;
const { outputFiles } = await build({ entryPoints: [source], bundle: true, format: 'esm', write: false });
const { consolePath, consolePlace, tilePlaces, tilesPath, wayBack } = await import(
  `data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`
);

const HERE = 'https://console.example/sub/';

/** Where the servers page leads with this `next`. */
const led = (next) => {
  const way = wayBack(`?next=${encodeURIComponent(next)}`);
  return way && new URL(way, HERE).href;
};

test('it leads to the address of a console, whatever the server is called', () => {
  for (const name of ['demo', 'a/b', '%2f', 'שרת', 'x'.repeat(255), 'a b?c#d', "it's (a) *!"]) {
    const path = consolePath(name, 1);
    assert.equal(led(path), new URL(path, HERE).href, name);
    assert.deepEqual(consolePlace(`/${path}`), { server: name, port: 1 }, name);
  }
  assert.equal(led('console/demo/0?mode=watch'), `${HERE}console/demo/0?mode=watch`);
});

test('it leads to consoles side by side, nine at most and each once', () => {
  const places = ['demo', 'a/b', 'שרת', "it's (a) *!"].map((server, port) => ({ server, port }));
  const path = tilesPath(places);
  assert.equal(led(path), new URL(path, HERE).href);
  assert.deepEqual(tilePlaces(path.slice('consoles'.length)), places);
  const many = Array.from({ length: 20 }, (_, port) => ({ server: 'demo', port }));
  assert.deepEqual(tilePlaces(tilesPath([...many.slice(0, 2), ...many]).slice('consoles'.length)), many.slice(0, 9));
});

test('it leads to no other place, and to no other site', () => {
  for (const next of [
    '',
    '//evil.example',
    '//evil.example/console/a/0',
    '/\\evil.example',
    'https://evil.example/console/a/0',
    'https:console/a/0',
    'javascript:alert(1)//console/a/0',
    '/console/a/0',
    'console/../0',
    'console/./0',
    'console/a/b/0',
    'console/a/0/../../..',
    'console/a/0#login=00',
    'console/a/0?token=stolen',
    'console/a\n/0',
    '\tconsole/a/0',
    'console/a/0\n',
    'console/a/9999',
    'consoles?at=a%2F0#login=00',
    'consoles?at=a%2F0&token=stolen',
    'consoles?at=//evil.example',
    'consoles/../evil?at=a%2F0',
  ]) {
    assert.equal(led(next), undefined, JSON.stringify(next));
  }
});
