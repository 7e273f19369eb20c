// A page whose login has ended, or whose server has started anew, cannot come back by itself: its socket is refused.
// It asks whether it is still let in while the connection is lost, and goes to the login if it is not.
setInterval(async () => {
  const lost = document.getElementById("popup");
  if (!lost || lost.ariaHidden !== "false") return;
  try {
    const answer = await fetch(window.location.href, { method: "HEAD", redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect") window.location.reload();
  } catch {
    // the server is away: NiceGUI goes on trying
  }
}, 2000);
