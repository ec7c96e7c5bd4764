import assert from 'node:assert/strict';
import { collectors } from '../../../../src/agent/collectors/index.ts';
import { CONNECTION_RULES } from '../../../../src/agent/linux/sockets/connections/socket-calls.ts';
import { SOURCES } from '../../../../src/agent/linux/streams/index.ts';
import { START_RULES } from '../../../../src/agent/linux/streams/starts.ts';

/** Streams that the agent makes of what it does itself. */
const OWN: readonly string[] = ['log', 'configuration', 'alerts'];

describe('the sources of events', () => {
  const streams = SOURCES.flatMap((source) => source.streams);

  it('include one source for each stream that a collector needs', () => {
    const needed = collectors.flatMap((collector) => (collector.category === 'Triggered' ? [collector.stream] : []));
    const missing = needed.filter((stream) => !OWN.includes(stream) && !streams.includes(stream));
    assert.deepEqual(missing, []);
    assert.equal(new Set(streams).size, streams.length);
  });

  for (const [stream, rules, why] of [
    ['starts', START_RULES, 'for starts'],
    ['exits', START_RULES, 'for starts, which name the program'],
    ['connections', CONNECTION_RULES, 'for system calls about sockets'],
    ['logins', [], 'for nothing: programs write these records by themselves'],
  ] as const) {
    it(`request audit for ${stream}, ${why}`, () => {
      const source = SOURCES.find((each) => each.streams.includes(stream)) ?? assert.fail();
      assert.deepEqual(source.auditRules, rules);
      assert.ok(source.feeds.includes('audit'));
    });
  }
});
