/** What the account needs to know of an event that waits. */
export interface EventTally {
  /** The event's name, `ProcessCreate`. */
  readonly name: string;
  /** What it counts for when delivered or dropped: its payload elements, or 1 for a snapshot. */
  readonly elements: number;
  /** What was collected to make it: more than `elements` when it was aggregated. */
  readonly occurrences: number;
}

/** An event on its way into a queue. */
export interface OutgoingEvent extends EventTally {
  /** The envelope, as JSON text: what is sent, byte for byte. */
  readonly json: string;
}

/** An event that waits in a queue. */
export interface QueuedEvent extends OutgoingEvent {
  /** Counts up by one per event of its queue, over restarts too. */
  readonly position: number;
  /** Size of `json` in UTF-8. Known from the store, so that nobody needs to encode the text to learn it. */
  readonly jsonBytes: number;
}
