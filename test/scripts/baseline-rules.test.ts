import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { BASELINE_FOLDER, compileBaseline } from '../../scripts/baseline-rules.ts';
import { temporaryFolder } from '../harness/folders.ts';

const FIRST_RULE_OF_SUDO = 'cfg.sudo-use-pty';

describe('compileBaseline', () => {
  let folder: string;
  const edit = (file: string, from: string | RegExp, to: string) => {
    const text = readFileSync(join(folder, file), 'utf8');
    const changed = text.replace(from, to);
    assert.notEqual(changed, text);
    writeFileSync(join(folder, file), changed);
  };

  beforeEach(() => {
    folder = temporaryFolder();
    for (const file of ['rule-set.yml', 'sudo.yml', 'time.yml'])
      cpSync(join(BASELINE_FOLDER, file), join(folder, file));
    // Two categories are enough here, and much faster.
    edit(
      'rule-set.yml',
      /(?<=^categories:\n)[\s\S]*(?=^roles:)/m,
      '  sudo: How users become root\n  time: Clock synchronisation\n',
    );
  });

  /** The errors, without the folder in front of the file. */
  const errors = () => {
    try {
      compileBaseline(folder);
    } catch (error) {
      return (error as Error).message.replaceAll(`config/${basename(folder)}/`, '').split('\n');
    }
    return [];
  };

  it('writes one rule per line, with the name of its file as category', () => {
    const lines = compileBaseline(folder).split('\n');
    const rule = lines.find((line) => line.includes(`"${FIRST_RULE_OF_SUDO}"`));
    assert.equal(JSON.parse((rule ?? '').replace(/,$/, '')).category, 'sudo');
  });

  it('names file, line and value of a fault, and reports the faults of all files', () => {
    edit('sudo.yml', 'severity: ', 'severity: Very');
    edit('time.yml', /appliesTo: .*/, 'appliesTo: { needs: [magic], container: true }');
    const found = errors();
    assert.equal(found.length, 2);
    assert.ok(
      found.some((error) => /^sudo\.yml:\d+: severity: /.test(error)),
      found.join('\n'),
    );
    assert.ok(found.some((error) => /^time\.yml:\d+: appliesTo\.needs\[0\]: is not a feature/.test(error)));
    const line = Number(/^sudo\.yml:(\d+)/m.exec(found.join('\n'))?.[1]);
    assert.match(readFileSync(join(folder, 'sudo.yml'), 'utf8').split('\n')[line - 1] ?? '', /^severity: Very/);
  });

  for (const [what, change, error] of [
    ['broken YAML', () => edit('sudo.yml', 'id: ', 'id: ['), /^sudo\.yml:\d+: /],
    ['an alias', () => edit('sudo.yml', 'title: ', 'title: *'), /^sudo\.yml:\d+: aliases/],
    ['a repeated key', () => edit('sudo.yml', 'level: 1', 'level: 1\nlevel: 1'), /^sudo\.yml:\d+: "level" is given/],
    ['the id of another file', () => edit('time.yml', /id: .*/, `id: ${FIRST_RULE_OF_SUDO}`), /occurs twice/],
    [
      'an unknown role',
      () => edit('sudo.yml', 'appliesTo: {', 'appliesTo: { notRole: [wizard],'),
      /unknown role wizard/,
    ],
    ['a category of its own', () => edit('sudo.yml', 'level: 1', 'level: 1\ncategory: time'), /name of its file/],
    ['a category without a file', () => rmSync(join(folder, 'sudo.yml')), /^sudo\.yml:1: has no rule/],
    [
      'a file without a category',
      () => edit('rule-set.yml', / {2}sudo: .*\n/, ''),
      /^sudo\.yml:1: rule-set\.yml does not/,
    ],
    ['an invalid version', () => edit('rule-set.yml', 'version: 1', 'version: v1'), /^rule-set\.yml:1: version: /],
  ] as const)
    it(`rejects a folder with ${what}`, () => {
      change();
      assert.ok(
        errors().some((found) => error.test(found)),
        errors().join('\n'),
      );
    });
});
