// Serves the pages, the room page against the fake mesh under /fake, and a made-up operator API for the console; or,
// with API=http://host:port, that node's.
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { FakeApi } from './fake-api.js';

const port = Number(process.env['PORT'] ?? 8765);
const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob: mediastream:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'";
const api = new FakeApi();
const dist = 'target/dev/dist';

createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://x');
  response.setHeader('content-security-policy', csp);
  if (url.pathname.startsWith('/v1/')) {
    if (!process.env['API']) return api.serve(request, response, url);
    const passed = ask(new URL(url.pathname, process.env['API']), { headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    response.on('close', () => passed.destroy());
    return passed.end();
  }
  if (url.pathname === '/healthz') return response.end('ok\n');
  if (url.pathname === '/fake') {
    const page = readFileSync(`${dist}/index.html`, 'utf8')
      .replace('<html', '<html data-fake="1"')
      .replace('./room.js', './dev/fake-room.js');
    return response.setHeader('content-type', types['.html']!).end(page);
  }
  const path = url.pathname === '/' ? '/index.html' : url.pathname === '/console' ? '/console.html' : url.pathname;
  const file = path.startsWith('/dev/') ? join('target', normalize(path)) : join(dist, normalize(path));
  if (!existsSync(file)) return response.writeHead(404).end('not found');
  response.setHeader('content-type', types[extname(file)] ?? 'application/octet-stream');
  createReadStream(file).pipe(response);
}).listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/fake?bots=4 and /console`));
