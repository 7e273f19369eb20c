/** Slots for a limited number of tasks at the same time. */

export class Slots {
    private readonly waiting: (() => void)[] = [];

    constructor(private free: number) {}

    /** Runs a task when a slot is free. */
    async run<T>(task: () => Promise<T>): Promise<T> {
        if (this.free > 0) this.free -= 1;
        else await new Promise<void>((resume) => this.waiting.push(resume));
        try {
            return await task();
        } finally {
            const next = this.waiting.shift();
            if (next) next();
            else this.free += 1;
        }
    }
}
