// Builds dist/ (what a node serves), or with an argument what only development needs:
//   node build.mjs        dist/: the room page, the console, the SDK
//   node build.mjs test   target/test/: the unit tests
//   node build.mjs dev    dist/ unminified, and target/dev/: pages against a fake mesh, and the server for them
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

async function dist(minify) {
  rmSync('dist', { recursive: true, force: true });
  mkdirSync('dist');
  const { metafile } = await build({
    ...browser,
    minify,
    metafile: true,
    outdir: 'dist',
    entryPoints: {
      sdk: 'src/sdk/index.ts',
      room: 'src/room/main.tsx',
      console: 'src/console/main.tsx',
      'room-style': 'src/room/style.css',
      'console-style': 'src/console/style.css',
    },
  });
  cpSync('src/room/index.html', 'dist/index.html');
  cpSync('src/console/index.html', 'dist/console.html');
  cpSync('src/ui/icon.svg', 'dist/icon.svg');
  writeFileSync('dist/licenses.txt', licenses(metafile));
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
function declarations() {
  const tsc = join('node_modules', 'typescript', 'bin', 'tsc');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.types.json'], { stdio: 'inherit' });
  writeFileSync('dist/sdk.d.ts', "export * from './types/sdk/index.js';\n");
}

switch (what) {
  case 'dist':
    await dist(true);
    declarations();
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
    await dist(false);
    await build({ ...browser, outdir: 'target/dev', entryPoints: { 'fake-room': 'test/dev/fake-room.tsx' } });
    await build({ ...node, outfile: 'target/dev/server.js', entryPoints: ['test/dev/server.ts'] });
    break;
  default:
    throw new Error(`build what? ${what}`);
}
