import { NftListing } from '../../../../src/agent/linux/firewall/nftables.ts';
import type { Table } from '../../../../src/agent/linux/firewall/ruleset.ts';

/** The tables in an output of nft that is there as a whole. */
export function parseNftables(json: string, options: { terse?: boolean; maxBytes?: number } = {}): Table[] {
  const listing = new NftListing(options);
  listing.add(Buffer.from(json));
  return finished(listing);
}

/** Reads all rules without a pause. */
export function finished(listing: NftListing): Table[] {
  const work = listing.finish();
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}
