// The pages' types of `console.v1` and of the API's answers, held to the fixtures that the server's own tests hold too:
// what either side renames, drops or adds to a list of values fails here or there.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { build } from 'esbuild';
import ts from 'typescript';

const WEB = new URL('..', import.meta.url).pathname;

/** The text of a fixture. */
async function fixture(name) {
  return (await readFile(join(WEB, '../crates/proto/fixtures', name), 'utf8')).trim();
}

/** What the compiler has to say against a program that uses the pages' types. */
function faults(source) {
  const name = join(WEB, 'src/fixtures-in-test.ts');
  const { config } = ts.readConfigFile(join(WEB, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, WEB);
  Object.assign(options, { noUnusedLocals: false });
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.getSourceFile = (path, ...rest) =>
    path === name ? ts.createSourceFile(path, source, ...rest) : getSourceFile.call(host, path, ...rest);
  host.fileExists = (path) => path === name || fileExists.call(host, path);
  const program = ts.createProgram([name], options, host);
  return ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

/** A fixture has literal types, so each value has to be one that the pages know. */
const PRELUDE = `
  import type { ClientMessage, ServerMessage } from './messages';
  import type { Line, LoginState, Server, Session } from './servers/api';
  type Held<T> = T extends readonly (infer U)[] ? readonly Held<U>[]
    : T extends object ? { readonly [K in keyof T]: Held<T[K]> } : T;
  type Kinds<T> = T extends { type: infer K } ? K : never;
  type Same<T, U> = [T] extends [U] ? ([U] extends [T] ? true : false) : false;
`;

const server = (messages) => `${PRELUDE}
  const all = ${messages} as const;
  const held: Held<ServerMessage[]> = all;
  const complete: Same<Kinds<(typeof all)[number]>, ServerMessage['type']> = true;
  export { held, complete };`;

const page = (messages) => `${PRELUDE}
  const all = ${messages} as const;
  const held: Held<ClientMessage[]> = all;
  const complete: Same<Kinds<(typeof all)[number]>, ClientMessage['type']> = true;
  type Done<T, K> = T extends { type: K; do: infer D } ? D : never;
  const pens: Same<Done<(typeof all)[number], 'pen'>, Done<ClientMessage, 'pen'>> = true;
  const powers: Same<Done<(typeof all)[number], 'power'>, Done<ClientMessage, 'power'>> = true;
  export { held, complete, pens, powers };`;

const api = (answers) => `${PRELUDE}
  const all = ${answers} as const;
  const held: {
    readonly lines: { readonly lines: Held<Line[]>; readonly unreachable: readonly string[] };
    readonly sessions: { readonly sessions: Held<Session[]> };
    readonly servers: { readonly servers: Held<Server[]>; readonly as_of: string };
    readonly login: Held<LoginState>;
  } = all;
  const statuses: Same<(typeof all.servers.servers)[number]['status'], Server['status']> = true;
  const methods: Same<(typeof all.login.methods)[number], LoginState['methods'][number]> = true;
  export { held, statuses, methods };`;

for (const [what, name, program] of [
  ["the server's messages", 'console-v1-server.json', server],
  ["the page's messages", 'console-v1-page.json', page],
  ["the API's answers", 'api.json', api],
]) {
  test(`${what} are of the types that the pages know`, async () => {
    assert.deepEqual(faults(program(await fixture(name))), []);
  });
}

test('a fixture with another name or value is of another type', async () => {
  const messages = await fixture('console-v1-server.json');
  for (const [from, to] of [
    ['"reason"', '"why"'],
    ['"connected"', '"joined"'],
    ['"type": "pong"', '"type": "echo"'],
    ['"free_in": 40', '"free_in": "40"'],
  ]) {
    assert.ok(messages.includes(from), from);
    assert.notDeepEqual(faults(server(messages.replace(from, to))), [], to);
  }
});

test('the page takes every message of the server as it is', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'messages-'));
  try {
    const file = join(folder, 'messages.mjs');
    await build({ entryPoints: [join(WEB, 'src/messages.ts')], outfile: file, format: 'esm' });
    const { parseMessage } = await import(file);
    for (const message of JSON.parse(await fixture('console-v1-server.json'))) {
      assert.deepEqual(parseMessage(JSON.stringify(message)), message);
    }
    assert.equal(parseMessage('{"type":"of a newer server"}'), undefined);
  } finally {
    await rm(folder, { recursive: true });
  }
});
