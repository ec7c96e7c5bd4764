import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { firewallConfiguration } from '../../../../src/agent/collectors/firewall-configuration.ts';
import { rulesOf, type Table } from '../../../../src/agent/linux/firewall/ruleset.ts';
import type { Payload } from '../../../../src/core/contract/event.ts';
import type { FirewallRule } from '../../../../src/core/contract/sources.ts';
import { sources } from '../../collectors/samples.ts';

/** Output of real tools, from `npm run capture -- firewall`, by its name: `nft.json`. */
export const golden = (name: string): string => readFileSync(`test/golden/debian13-6.18/firewall-${name}`, 'utf8');

/** What the collector makes of tables. */
export function payloadOf(tables: readonly Table[]): Promise<readonly Payload[]> {
  const rules = tables.flatMap(rulesOf);
  const firewall = { ...sources.firewall, rules: async (): Promise<readonly FirewallRule[]> => rules };
  return firewallConfiguration.collect({ ...sources, firewall }, new AbortController().signal);
}

/** Asserts that parsed rows are valid for the event and not much longer than `input`. */
export async function assertWellFormed(tables: readonly Table[], input: string): Promise<void> {
  const payload = await payloadOf(tables);
  v.parse(v.array(firewallConfiguration.payload), payload);
  const text = JSON.stringify(payload);
  assert.deepEqual(JSON.parse(text), payload); // no undefined, no NaN
  // Every element names its place, and a set that many rules mention is written out for each.
  assert.ok(text.length <= 2_000 + 12 * input.length + 5_000 * payload.length, `${text.length} from ${input.length}`);
}
