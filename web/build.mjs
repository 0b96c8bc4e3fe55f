// Builds the pages into dist/: a flat folder of files, all of them loaded by relative names, so a
// page works below any path, and each beside itself in the codings that browsers take. Fails when a page
// grows over its budget.

import { build } from 'esbuild';
import { copyFile, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';

/**
 * The pages: their HTML, the script it starts with, and the bytes, by gzip, of all that it may ever
 * load.
 */
const PAGES = [
  { name: 'serial', entry: 'src/main.ts', budget: 170 * 1024 },
  { name: 'servers', entry: 'src/servers/main.ts', budget: 24 * 1024 },
  { name: 'consoles', entry: 'src/tiles/main.ts', budget: 20 * 1024 },
];

const here = (path) => new URL(path, import.meta.url).pathname;

/** A fault of xterm.js 6.0.0 that is mended in its published build: what stands there, what belongs there. */
const FAULT = {
  // Inverse text of the default colors is held against its own background, and so turns gray.
  wrong: 'this._applyMinimumContrast(f,it,p.foreground,x,tt,Qi)',
  right: 'this._applyMinimumContrast(f,it,fi?p.background:p.foreground,x,tt,Qi)',
};

const mended = {
  name: 'xterm.js without its fault',
  setup({ onLoad }) {
    onLoad({ filter: /\/@xterm\/xterm\/lib\/xterm\.mjs$/ }, async ({ path }) => {
      const published = await readFile(path, 'utf8');
      if (published.split(FAULT.wrong).length !== 2) throw new Error(`${path} has no fault to mend`);
      return { contents: published.replace(FAULT.wrong, FAULT.right), loader: 'js' };
    });
  },
};

async function bundle() {
  const { metafile } = await build({
    entryPoints: PAGES.map(({ name, entry }) => ({ in: here(entry), out: name })),
    outdir: here('dist'),
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    bundle: true,
    format: 'esm',
    legalComments: 'none',
    metafile: true,
    minify: true,
    plugins: [mended],
    splitting: true,
    target: 'es2022',
  });
  return metafile.outputs;
}

/** What the page's HTML names: script, style, and what the script imports at once. */
function entry(outputs, { entry }) {
  const [path, output] = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint === entry);
  const chunks = output.imports.filter(({ kind }) => kind === 'import-statement');
  return {
    path,
    script: basename(path),
    style: basename(output.cssBundle),
    chunks: chunks.map((chunk) => basename(chunk.path)),
  };
}

/** All scripts that a script may load, at once or later, and itself. */
function scripts(outputs, path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const chunk of outputs[path].imports) scripts(outputs, chunk.path, found);
  return found;
}

async function writePage({ name }, { script, style, chunks }) {
  const template = await readFile(here(`src/${name}.html`), 'utf8');
  const preloads = chunks.map((chunk) => `<link rel="modulepreload" href="${chunk}">`);
  const page = template
    .replace(/href="\w+\.css"/, `href="${style}"`)
    .replace(/<script type="module" src="\w+\.js">/, [...preloads, `<script type="module" src="${script}">`].join('\n    '));
  await writeFile(here(`dist/${name}.html`), page);
}

/** The bundled packages are under the MIT license, whose text goes with every copy. */
async function writeLicences() {
  const { dependencies } = JSON.parse(await readFile(here('package.json'), 'utf8'));
  const texts = Object.keys(dependencies).map(
    async (name) => `${name}\n\n${await readFile(here(`node_modules/${name}/LICENSE`), 'utf8')}`,
  );
  await writeFile(here('dist/licences.txt'), (await Promise.all(texts)).join('\n\n'));
}

/** Writes every file in each coding; gives the bytes of each by gzip. */
async function compress() {
  const sizes = new Map();
  for (const name of (await readdir(here('dist'))).sort()) {
    const file = await readFile(here(`dist/${name}`));
    const gzip = gzipSync(file, { level: 9 });
    const brotli = brotliCompressSync(file);
    await writeFile(here(`dist/${name}.gz`), gzip);
    await writeFile(here(`dist/${name}.br`), brotli);
    sizes.set(name, gzip.length);
    console.log(`${name.padEnd(32)} ${kib(gzip.length)} KiB gzip ${kib(brotli.length)} KiB brotli`);
  }
  return sizes;
}

const kib = (bytes) => (bytes / 1024).toFixed(1).padStart(7);

function holdToBudget({ name, budget }, { path, style }, outputs, sizes) {
  const loaded = [...scripts(outputs, path)].map((script) => basename(script));
  const files = [`${name}.html`, style, 'favicon.svg', ...loaded];
  const total = files.reduce((sum, file) => sum + sizes.get(file), 0);
  console.log(`all of ${name}: ${kib(total).trim()} KiB gzip of ${budget / 1024}`);
  if (total > budget) throw new Error(`${name} is over its budget`);
}

await rm(here('dist'), { recursive: true, force: true });
const outputs = await bundle();
for (const page of PAGES) await writePage(page, entry(outputs, page));
await copyFile(here('src/favicon.svg'), here('dist/favicon.svg'));
await copyFile(here('../docs/proxies.md'), here('dist/proxies.txt'));
await writeLicences();
const sizes = await compress();
for (const page of PAGES) holdToBudget(page, entry(outputs, page), outputs, sizes);
