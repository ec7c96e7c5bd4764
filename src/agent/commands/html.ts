import { createHash } from 'node:crypto';
import { visible } from '../../core/base/text.ts';

/* Pages in one file. Every value is escaped, and a Content-Security-Policy forbids all network access. */

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for an element or an attribute in quotes; invisible characters are shown by their code points. */
export const escaped = (text: string): string => visible(text).replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? '');

const digest = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

function policy(style: string, script: string | undefined): string {
  const scripts = script === undefined ? '' : ` script-src ${digest(script)};`;
  return `default-src 'none'; style-src ${digest(style)};${scripts} base-uri 'none'; form-action 'none'`;
}

/** @param page its parts are HTML, except for the title, the style and the script */
export const htmlPage = (page: {
  readonly title: string;
  readonly style: string;
  readonly script?: string;
  readonly header: string;
  readonly main: string;
  readonly footer: string;
}): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy(page.style, page.script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(page.title)}</title>
<style>${page.style}</style>
</head>
<body>
<header>
${page.header}
</header>
<main>
${page.main}
</main>
<footer>
${page.footer}
</footer>
${page.script === undefined ? '' : `<script>${page.script}</script>\n`}</body>
</html>
`;
