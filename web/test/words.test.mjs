// No text that people read has a word of the protocol: typing is not writing, and who may type holds no pen.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import ts from 'typescript';

const SRC = new URL('../src/', import.meta.url);

/** Words of the protocol and of Nova. */
const FOREIGN = /\b(pens?|shutoff|writes?|writers?|writing)\b/i;

/** Where writing is no typing at a console. */
const MEANT = [
  's: write everything to the disks',
  'b: reboot at once, without writing to the disks',
  'Most guests crash when they get an NMI. Some write a crash dump first.',
];

/** The words of a program that people can read: strings and templates with a space or a capital letter. */
function* texts(source) {
  const tree = ts.createSourceFile('x.ts', source, ts.ScriptTarget.Latest, true);
  const found = [];
  const visit = (node) => {
    if (ts.isImportDeclaration(node)) return;
    const parts = [
      ts.SyntaxKind.StringLiteral,
      ts.SyntaxKind.NoSubstitutionTemplateLiteral,
      ts.SyntaxKind.TemplateHead,
      ts.SyntaxKind.TemplateMiddle,
      ts.SyntaxKind.TemplateTail,
    ];
    if (parts.includes(node.kind)) found.push(node.text);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  yield* found.filter((text) => /\s|^[A-Z][a-z]/.test(text.trim()) || /^\s|\s$/.test(text));
}

/** What a page of HTML says: its text, and the attributes that are read out or shown. */
function* wordsOf(html) {
  yield* html.replace(/<(script|style)[^]*?<\/\1>|<!--[^]*?-->/g, '').split(/<[^>]*>/);
  for (const [, text] of html.matchAll(/\b(?:title|alt|aria-label|placeholder|content)="([^"]*)"/g)) yield text;
}

async function files() {
  const names = await readdir(SRC, { recursive: true });
  return names.filter((name) => /\.(ts|html)$/.test(name));
}

test('no text of the pages has the words pen, SHUTOFF or write', async () => {
  const wrong = [];
  let count = 0;
  for (const name of await files()) {
    const source = await readFile(new URL(name, SRC), 'utf8');
    for (const text of name.endsWith('.html') ? wordsOf(source) : texts(source)) {
      count += 1;
      if (FOREIGN.test(text) && !MEANT.includes(text)) wrong.push(`${name}: ${text}`);
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(count > 300, `only ${count} texts were read`);
});

test('the test would see them', () => {
  const source = 'say(`Take the pen from ${user}`); const mode = "write"; say("You may write here");';
  const seen = [...texts(source)].filter((text) => FOREIGN.test(text));
  assert.deepEqual(seen, ['Take the pen from ', 'You may write here']);
});
