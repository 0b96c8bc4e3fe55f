// Builds the page into dist/: a flat folder of files, all of them loaded by relative names, so the
// page works below any path. Fails when the first load grows over its budget.

import { build } from 'esbuild';
import { copyFile, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { gzipSync } from 'node:zlib';

/** Bytes, compressed, that the page may take before its first output. */
const FIRST_LOAD_BUDGET = 150 * 1024;

const here = (path) => new URL(path, import.meta.url).pathname;

async function bundle() {
  const { metafile } = await build({
    entryPoints: [here('src/main.ts')],
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

/** The files that serial.html names, and what those import at once. */
function firstLoad(outputs) {
  const [path, entry] = Object.entries(outputs).find(([, output]) => output.entryPoint);
  const chunks = entry.imports.filter(({ kind }) => kind === 'import-statement');
  return {
    script: basename(path),
    style: basename(entry.cssBundle),
    chunks: chunks.map((chunk) => basename(chunk.path)),
  };
}

async function writePage({ script, style }) {
  const template = await readFile(here('src/serial.html'), 'utf8');
  await writeFile(
    here('dist/serial.html'),
    template.replace('main.css', style).replace('main.js', script),
  );
  await copyFile(here('src/favicon.svg'), here('dist/favicon.svg'));
}

/** The bundled packages are under the MIT licence, whose text goes with every copy. */
async function writeLicences() {
  const { dependencies } = JSON.parse(await readFile(here('package.json'), 'utf8'));
  const texts = Object.keys(dependencies).map(
    async (name) => `${name}\n\n${await readFile(here(`node_modules/${name}/LICENSE`), 'utf8')}`,
  );
  await writeFile(here('dist/licences.txt'), (await Promise.all(texts)).join('\n\n'));
}

async function reportSizes({ script, style, chunks }) {
  const first = new Set([script, style, 'serial.html', ...chunks]);
  let total = 0;
  for (const name of (await readdir(here('dist'))).sort()) {
    const size = gzipSync(await readFile(here(`dist/${name}`)), { level: 9 }).length;
    total += first.has(name) ? size : 0;
    const when = first.has(name) ? 'first load' : '';
    console.log(`${name.padEnd(32)} ${(size / 1024).toFixed(1).padStart(7)} KiB gzip  ${when}`);
  }
  console.log(`first load: ${(total / 1024).toFixed(1)} KiB gzip of ${FIRST_LOAD_BUDGET / 1024}`);
  if (total > FIRST_LOAD_BUDGET) throw new Error('the first load is over its budget');
}

await rm(here('dist'), { recursive: true, force: true });
const files = firstLoad(await bundle());
await writePage(files);
await writeLicences();
await reportSizes(files);
