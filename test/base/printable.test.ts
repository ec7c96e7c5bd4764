import assert from 'node:assert/strict';
import { printable, printableJson } from '../../src/base/printable.ts';

describe('printable', () => {
  it('takes the control characters, of both sets, and leaves everything else', () => {
    assert.equal(printable('a\u001b[31m\r\n\u0007\u007f\u009b2J é 日 ✓'), 'a·[31m·····2J é 日 ✓');
  });
});

describe('printableJson', () => {
  it('escapes what JSON.stringify leaves, and stays the same JSON', () => {
    const value = { name: '\u001b[2J \u007f\u0080\u009b\u009f é\n' };
    const text = printableJson(JSON.stringify(value, null, 2));
    assert.doesNotMatch(text.replaceAll('\n', ''), /\p{Cc}/u);
    assert.deepEqual(JSON.parse(text), value);
  });
});
