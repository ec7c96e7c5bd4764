/** The hub's error code and its name for what its tier lacks. Source: "Azure IoT Hub error codes". */
const UNAVAILABLE = /\b403010\b|\bOperationNotAvailableInCurrentTier\b/;

/** Whether the hub refused a request because it is of the basic tier. @param reason the hub's error code or its name */
export const isRefusedByTier = (reason: string): boolean => UNAVAILABLE.test(reason);

/** What a hub of the basic tier lacks, and the remedy. As of 2026-12-01. */
export const BASIC_TIER = 'is of the basic tier, which has no modules, module twins or direct methods';
export const TIER_REMEDY =
  'Change the hub to the standard tier (in the portal: "Pricing and scale"), or use a hub of the standard or free tier.';
