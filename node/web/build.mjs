// Builds dist/ (what a node serves), or with an argument what only development needs:
//   node build.mjs        dist/: the room page, the console, the SDK
//   node build.mjs test   target/test/: the unit tests
//   node build.mjs dev    target/dev/: all of it unminified, pages against a fake mesh, and a server for them
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(fileURLToPath(import.meta.url));
process.chdir(root);
const what = process.argv[2] ?? 'dist';

const browser = {
  bundle: true,
  format: 'esm',
  target: ['es2022', 'chrome111', 'firefox120', 'safari16.4'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  logLevel: 'warning',
  legalComments: 'none',
};
const node = { bundle: true, format: 'esm', platform: 'node', target: 'node20', packages: 'external', logLevel: 'warning' };

async function pages(out, minify) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const { metafile } = await build({
    ...browser,
    minify,
    metafile: true,
    outdir: out,
    entryPoints: {
      sdk: 'src/sdk/index.ts',
      room: 'src/room/main.tsx',
      console: 'src/console/main.tsx',
      'room-style': 'src/room/style.css',
      'console-style': 'src/console/style.css',
    },
  });
  cpSync('src/room/index.html', join(out, 'index.html'));
  cpSync('src/console/index.html', join(out, 'console.html'));
  cpSync('src/ui/icon.svg', join(out, 'icon.svg'));
  writeFileSync(join(out, 'licenses.txt'), licenses(metafile));
}

/** The licences of everything that is bundled ask for their text to come along. */
function licenses(metafile) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
    if (name) packages.add(name);
  }
  return [...packages]
    .sort()
    .map((name) => {
      const folder = join('node_modules', name);
      const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      return `${name} ${version} (${license})\n\n${file ? readFileSync(join(folder, file), 'utf8').trim() : ''}\n`;
    })
    .join(`\n${'-'.repeat(80)}\n\n`);
}

/** Declarations for those who write against the SDK in TypeScript. */
function declarations(out) {
  const tsc = join('node_modules', 'typescript', 'bin', 'tsc');
  const args = ['-p', 'tsconfig.types.json', '--outDir', join(out, 'types')];
  execFileSync(process.execPath, [tsc, ...args], { stdio: 'inherit' });
  writeFileSync(join(out, 'sdk.d.ts'), "export * from './types/sdk/index.js';\n");
}

switch (what) {
  case 'dist':
    // Whoever embeds dist/ meanwhile finds the one before or this one, but no half of it.
    await pages('target/dist', true);
    declarations('target/dist');
    rmSync('dist', { recursive: true, force: true });
    renameSync('target/dist', 'dist');
    break;
  case 'test':
    rmSync('target/test', { recursive: true, force: true });
    await build({
      ...node,
      outdir: 'target/test',
      entryPoints: readdirSync('test')
        .filter((file) => file.endsWith('.test.ts'))
        .map((file) => join('test', file)),
    });
    break;
  case 'dev':
    await pages('target/dev/dist', false);
    await build({ ...browser, outdir: 'target/dev', entryPoints: { 'fake-room': 'test/dev/fake-room.tsx' } });
    await build({ ...node, outfile: 'target/dev/server.js', entryPoints: ['test/dev/server.ts'] });
    break;
  default:
    throw new Error(`build what? ${what}`);
}
