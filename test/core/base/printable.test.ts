import assert from 'node:assert/strict';
import { printable, printableJson, visible } from '../../../src/core/base/printable.ts';

describe('printable', () => {
  it('takes the control characters, of both sets, and leaves everything else', () => {
    assert.equal(printable('a\u001b[31m\r\n\u0007\u007f\u009b2J é 日 ✓'), 'a·[31m·····2J é 日 ✓');
  });
});

/** By what they do: reverse text, take no width, end a line, hide in a tag, look like nothing. */
const HIDDEN = [
  '\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c',
  '\u200b\u200c\u200d\u2060\u2061\ufeff\u00ad\u034f\u180e',
  '\u2028\u2029',
  '\u{e0001}\u{e0041}\u{e007f}',
  '\ufe00\ufe0f\u{e0100}\u{e01ef}\u180b',
  '\u115f\u3164\uffa0\u2800\ufff9\u{1d173}',
  '\ue000\u{f0000}\u0378\ud800',
].join('');

describe('printable, of what a terminal does not show', () => {
  it('shows each as its number', () => {
    assert.equal(printable('a\u202egnp.exe'), 'a<U+202E>gnp.exe');
    assert.equal(printable('a\u200bb\u{e0041}\u00ad'), 'a<U+200B>b<U+E0041><U+00AD>');
    for (const char of HIDDEN) assert.match(printable(char), /^<U\+[0-9A-F]{4,6}>$/);
  });

  it('leaves letters, marks and signs of all scripts', () => {
    const text = 'é e\u0301 日本 עברית العربية हिन्दी ไทย ✓ € 😀 \u00a0';
    assert.equal(printable(text), text);
  });
});

describe('printableJson', () => {
  it('escapes what a terminal does not show, and stays the same JSON', () => {
    const value = { name: HIDDEN, [HIDDEN]: ['😀 é', HIDDEN] };
    const text = printableJson(JSON.stringify(value));
    assert.equal(visible(text), text);
    assert.deepEqual(JSON.parse(text), value);
  });

  it('escapes what JSON.stringify leaves, and stays the same JSON', () => {
    const value = { name: '\u001b[2J \u007f\u0080\u009b\u009f é\n' };
    const text = printableJson(JSON.stringify(value, null, 2));
    assert.doesNotMatch(text.replaceAll('\n', ''), /\p{Cc}/u);
    assert.deepEqual(JSON.parse(text), value);
  });
});
