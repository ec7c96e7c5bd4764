import type { OffReason } from '../../detections/detector.ts';

/** Why loaded rules are off, in words. */
export const OFF_REASONS: Readonly<Record<OffReason, string>> = {
  requires: 'their list is not set',
  noEvent: 'no collector reports such events',
  time: 'they took too much time',
};
