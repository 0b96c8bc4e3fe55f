// Builds the pages into dist/: a flat folder of files, all of them loaded by relative names, so a
// page works below any path. Fails when the first load of one grows over its budget.

import { build } from 'esbuild';
import { copyFile, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { gzipSync } from 'node:zlib';

/**
 * The pages: their HTML, the script it starts with, and the bytes, compressed, that it may take
 * until it shows something.
 */
const PAGES = [
  { name: 'serial', entry: 'src/main.ts', budget: 150 * 1024 },
  { name: 'servers', entry: 'src/servers/main.ts', budget: 20 * 1024 },
];

const here = (path) => new URL(path, import.meta.url).pathname;

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
    splitting: true,
    target: 'es2022',
  });
  return metafile.outputs;
}

/** The files that the page's HTML names, and what those import at once. */
function firstLoad(outputs, { entry }) {
  const [path, output] = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint === entry);
  const chunks = output.imports.filter(({ kind }) => kind === 'import-statement');
  return {
    script: basename(path),
    style: basename(output.cssBundle),
    chunks: chunks.map((chunk) => basename(chunk.path)),
  };
}

async function writePage({ name }, { script, style }) {
  const template = await readFile(here(`src/${name}.html`), 'utf8');
  const page = template.replace(/href="\w+\.css"/, `href="${style}"`);
  await writeFile(here(`dist/${name}.html`), page.replace(/src="\w+\.js"/, `src="${script}"`));
}

/** The bundled packages are under the MIT licence, whose text goes with every copy. */
async function writeLicences() {
  const { dependencies } = JSON.parse(await readFile(here('package.json'), 'utf8'));
  const texts = Object.keys(dependencies).map(
    async (name) => `${name}\n\n${await readFile(here(`node_modules/${name}/LICENSE`), 'utf8')}`,
  );
  await writeFile(here('dist/licences.txt'), (await Promise.all(texts)).join('\n\n'));
}

/** Bytes of every file, compressed, by name. */
async function reportSizes() {
  const sizes = new Map();
  for (const name of (await readdir(here('dist'))).sort()) {
    const size = gzipSync(await readFile(here(`dist/${name}`)), { level: 9 }).length;
    sizes.set(name, size);
    console.log(`${name.padEnd(32)} ${(size / 1024).toFixed(1).padStart(7)} KiB gzip`);
  }
  return sizes;
}

function holdToBudget({ name, budget }, { script, style, chunks }, sizes) {
  const total = [`${name}.html`, script, style, ...chunks].reduce(
    (sum, file) => sum + sizes.get(file),
    0,
  );
  console.log(`first load of ${name}: ${(total / 1024).toFixed(1)} KiB gzip of ${budget / 1024}`);
  if (total > budget) throw new Error(`the first load of ${name} is over its budget`);
}

await rm(here('dist'), { recursive: true, force: true });
const outputs = await bundle();
for (const page of PAGES) await writePage(page, firstLoad(outputs, page));
await copyFile(here('src/favicon.svg'), here('dist/favicon.svg'));
await writeLicences();
const sizes = await reportSizes();
for (const page of PAGES) holdToBudget(page, firstLoad(outputs, page), sizes);
