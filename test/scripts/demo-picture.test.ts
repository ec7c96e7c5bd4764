import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { draw, story } from '../../scripts/demo-picture.ts';

describe('docs/demo.svg', () => {
  const recording = readFileSync('docs/demo.txt', 'utf8').split('\n');

  it('shows lines of the recording only, in their order', () => {
    const times = recording.map((line) => line.slice(0, 9));
    let from = 0;
    for (const line of story(recording)) {
      from = times.indexOf(line.slice(0, 9), from);
      assert.notEqual(from, -1, line);
      const rest = line.slice(43).replace('SecurityAgentConfiguration', '');
      const recorded = recording.filter((any) => any.startsWith(line.slice(0, 9)));
      assert.ok(
        recorded.some((any) => any.includes(rest)),
        line,
      );
    }
  });

  it('cannot be drawn from a recording that lacks a part of the story', () => {
    const without = recording.filter((line) => !line.includes(' collected = '));
    assert.throws(() => story(without), /no line like .* collected/);
  });

  it('keeps text of programs from becoming markup', () => {
    const picture = draw([`  1.0 s  ${' '.repeat(10)}ProcessCreate           root ran echo "<script>&"`]);
    assert.match(picture, /root ran echo "&lt;script&gt;&amp;"/);
  });
});
