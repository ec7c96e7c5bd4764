import { ownerOfId } from './owner.ts';

/**
 * The class of a listening port: who owns it, and whether it is reachable from outside. Rows of one class can be complete while
 * those of another are not, so that a user who opens many ports hides only their own.
 */
export const portClass = (isLoopback: boolean, userId: number): string =>
  `${isLoopback ? 'loopback' : 'outside'} ${ownerOfId(userId)}`;
