// Generated from convex/lib/prompts.ts by `npm run strip`: change that file, not this one.
// What an assistant is told when it is started for a role. The deployment writes it from what it knows; names that got
// past `checkId`, and a machine's name and a path of one line (`checkLine`), are the only things of a caller's in it.








export function initPrompt({ room, role, machine, directory }      )         {
  return [
    `You are the ${role} of the room ${room}. You work on the machine ${machine}, in the directory ${directory}.`,
    "Stay inside that directory unless a task says otherwise.",
    "",
    "Your tasks come from a queue. Take the next one with:",
    `  orchestrator wait-for-task --room ${room} --role ${role}`,
    "It waits until there is one, prints it, and tells you how to report the result. Do the task, report it, and take the",
    "next one. Nothing is lost when the command is cut off while it waits: run it again. When it ends with an error, stop.",
  ].join("\n");
}

;










/** A task as the assistant that plays a role reads it. The task's text is its owner's, and stands between marks with its id. */
export function taskPrompt({ room, role, taskId, leaseId, text, attempt, again }          )         {
  const before = again
    ? ["You have had this task in hand already. Look at what is there before you go on."]
    : attempt > 1
      ? [`This is attempt ${attempt}: look at what the one before may have left.`]
      : [];
  return [
    `A task for the ${role} of the room ${room}.`,
    ...before,
    "",
    `----- task ${taskId} -----`,
    text,
    `----- end of task ${taskId} -----`,
    "",
    "When it is done, say so, with a sentence about what you did:",
    `  orchestrator task done ${taskId} --lease ${leaseId} --summary "..."`,
    "When it cannot be done:",
    `  orchestrator task fail ${taskId} --lease ${leaseId} --reason "..."`,
    "Then take the next one:",
    `  orchestrator wait-for-task --room ${room} --role ${role}`,
  ].join("\n");
}
