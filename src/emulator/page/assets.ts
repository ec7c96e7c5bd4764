import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A file of the page. */
export interface Asset {
  readonly type: string;
  readonly content: Buffer;
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  js: 'text/javascript; charset=utf-8',
};

/**
 * The compiled sources. The browser loads modules by the same paths, since they import one another by relative paths.
 */
const COMPILED = new URL('../../', import.meta.url);

/** Every file of the page, keyed by URL path. Files are read once, so that no request turns into a file path. */
export function readAssets(): ReadonlyMap<string, Asset> {
  const files = [
    ['/', 'emulator/page/static/index.html'],
    ...['style.css', 'icon.svg'].map((name) => [`/${name}`, `emulator/page/static/${name}`]),
    ...readdirSync(new URL('emulator/page/browser/', COMPILED))
      .filter((name) => name.endsWith('.js'))
      .map((name) => `emulator/page/browser/${name}`)
      .concat('emulator/page/protocol.js', 'core/base/text.js')
      .map((path) => [`/${path}`, path]),
  ];
  return new Map(
    files.map(([url = '', path = '']) => [
      url,
      {
        type: TYPES[path.replace(/^.*\./, '')] ?? 'application/octet-stream',
        content: readFileSync(fileURLToPath(new URL(path, COMPILED))),
      },
    ]),
  );
}
