import assert from 'node:assert/strict';
import { decodeBase64, decodeHex, outputOf } from '../../../../src/agent/detections/views/decoding.ts';

describe('the output of a program', () => {
  const input = (text: string) => ({ text, isDecoded: false });
  const output = (words: readonly string[], text?: string) =>
    outputOf(words, text === undefined ? undefined : input(text))?.text;

  const rows: [words: readonly string[], input: string | undefined, output: string | undefined][] = [
    [['echo', 'nc', '-l'], undefined, 'nc -l\n'],
    [['echo', '-n', 'nc'], undefined, 'nc'],
    [['echo', '-E', 'nc'], undefined, 'nc\n'],
    [['echo', '-e', '\\x6ec'], undefined, 'nc\n'],
    [['echo', '-ne', '\\x6ec'], undefined, 'nc'],
    [['echo', '-en', '\\x6ec'], undefined, 'nc'],
    [['printf', 'nc'], undefined, 'nc'],
    [['printf', '--', '%s -l', 'nc'], undefined, 'nc -l'],
    [['printf', '%b', '\\x6ec'], undefined, 'nc'],
    [['printf', '%s', '\\x6ec'], undefined, '\\x6ec'],
    [['printf', '%s ', 'nc', '-l'], undefined, 'nc -l '],
    [['printf', '5%%'], undefined, '5%'],
    [['printf', '-v', 'a', 'nc'], undefined, undefined],
    [['cat'], 'nc', 'nc'],
    [['tee', '/tmp/x'], 'nc', 'nc'],
    [['base64', '-d'], 'bmMgLWwgMQ==', 'nc -l 1'],
    [['base64', '-D'], 'bmMgLWwgMQ==', 'nc -l 1'],
    [['base64', '--decode'], 'bmMgLWwgMQ==', 'nc -l 1'],
    [['base64'], 'nc -l 1', undefined],
    [['base32', '-d'], 'NZRSALLMEAYQ====', 'nc -l 1'],
    [['openssl', 'base64', '-d'], 'bmMgLWwgMQ==', 'nc -l 1'],
    [['openssl', 'enc', '-base64', '-d'], 'bmMgLWwgMQ==', 'nc -l 1'],
    [['openssl', 'enc', '-a', '-d'], 'bmMgLWwgMQ==', 'nc -l 1'],
    [['openssl', 'enc', '-a'], 'nc -l 1', undefined],
    [['xxd', '-r', '-p'], '6e63202d6c2031', 'nc -l 1'],
    [['xxd', '-rp'], '6e63202d6c2031', 'nc -l 1'],
    [['xxd', '-r'], '6e63202d6c2031', undefined],
    [['rev'], '1 l- cn\ndi', 'nc -l 1\nid'],
    [['tac'], 'b\na\n', 'a\nb\n'],
    [['tr', 'A-Za-z', 'N-ZA-Mn-za-m'], 'ap -Y', 'nc -L'],
    [['tr', '[:upper:]', '[:lower:]'], 'NC', 'nc'],
    [['tr', '[:digit:]', 'x'], '09a', 'xxa'],
    [['tr', 'ab', 'n'], 'ab', 'nn'],
    [['tr', '-d', 'X'], 'nXcX', 'nc'],
    [['tr', '-s', 'a'], 'aa', undefined],
    [['sed', 's/X//g'], 'nXcX', 'nc'],
    [['sed', 's/X//'], 'nXcX', 'ncX'],
    [['sed', '-e', 's|X|c|'], 'nX', 'nc'],
    [['sed', 's/[X]//g'], 'nX', undefined],
    [['head', '-c', '2'], 'nc -l', 'nc'],
    [['head', '-c2'], 'nc -l', 'nc'],
    [['cut', '-c1-2'], 'nc -l', 'nc'],
    [['cut', '-c', '2-3'], 'xnc', 'nc'],
    [['cut', '-c2'], 'xnc', 'n'],
    [['cut', '-c2-'], 'xnc', 'nc'],
    [['cut', '-c-2'], 'ncx', 'nc'],
    [['head'], 'nc', 'nc'],
    [['head', '-n1'], 'nc', undefined],
    [['which', '-a', 'nc'], undefined, 'nc'],
    [['command', '-v', 'nc'], undefined, 'nc'],
    [['type', '-p', 'nc'], undefined, 'nc'],
    [['type', '-P', 'nc'], undefined, 'nc'],
    [['true'], 'nc', ''],
    [[':'], 'nc', ''],
    [['/usr/bin/rev'], 'cn', 'nc'],
    [['constructor'], 'nc', undefined],
    [['uname', '-a'], undefined, undefined],
  ];
  for (const [words, text, expected] of rows)
    it(`is ${JSON.stringify(expected)} for \`${words.join(' ')}\` after ${JSON.stringify(text)}`, () =>
      assert.equal(output(words, text), expected));

  it('is decoded if characters of the argument are escaped as numbers', () => {
    assert.equal(outputOf(['echo', '\\x6e'], undefined)?.isDecoded, true);
    assert.equal(outputOf(['printf', '%b', '\\0156'], undefined)?.isDecoded, true);
    assert.equal(outputOf(['echo', 'a\\tb\\n'], undefined)?.isDecoded, false);
    assert.equal(outputOf(['rev'], input('cn'))?.isDecoded, true);
    assert.equal(outputOf(['cat'], input('nc'))?.isDecoded, false);
  });
});

describe('decoding base64', () => {
  for (const [text, plain] of [
    ['bmMgLWwgMQ==', 'nc -l 1'],
    ['bmMg\nLWwg MQ', 'nc -l 1'],
    ['Pz8_Pj4-', '???>>>'],
    ['Pz8/Pj4+', '???>>>'],
    ['bgBjACAA', 'nc '],
    ['bmM', undefined],
    ['bm$gLWwgMQ==', undefined],
    ['/////w==', undefined],
  ] as const)
    it(`returns ${JSON.stringify(plain)} for ${JSON.stringify(text)}`, () => assert.equal(decodeBase64(text), plain));
});

describe('decoding hexadecimal digits', () => {
  for (const [text, plain] of [
    ['6e63202d6c', 'nc -l'],
    ['6E63 202D 6C', 'nc -l'],
    ['\\x6e\\x63', 'nc'],
    ['0x6e63', 'nc'],
    ['6e:63', 'nc'],
    ['6e', undefined],
    ['6e632', undefined],
    ['6e6g', undefined],
    ['ffff', undefined],
  ] as const)
    it(`returns ${JSON.stringify(plain)} for ${JSON.stringify(text)}`, () => assert.equal(decodeHex(text), plain));
});
