import type { HubFailure } from '../../core/contract/hub.ts';

/**
 * Whether the hub itself refused what was presented. An operator must correct a proxy that refuses, or a file of
 * authorities, too (`because: 'credentials'`), but neither says anything about the keys.
 */
export const isRefusedByHub = ({ error, because }: HubFailure): boolean =>
  because === 'credentials' && ['CREDENTIAL_REFUSED', 'MODULE_UNKNOWN'].includes(error.id);
