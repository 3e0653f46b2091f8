// An event's page of the ticket system's own front end: the browser's own WebSocket with the token in its
// address, frames with a type, and a line that says how many seats are left and were.
function show(eventId, token) {
  const page = { heard: [], line: '', left: undefined, close: undefined }
  const socket = page.socket = new WebSocket(`ws://${location.host}/ws/events/${eventId}?token=${token}`)
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data)
    page.heard.push(message)
    if (message.eventId !== eventId || message.availableSeats === undefined) return
    page.line = `Only ${message.availableSeats} seats left! (was ${page.left})`
    page.left = message.availableSeats
  }
  socket.onclose = ({ code, reason }) => { page.close = [code, reason] }
  page.send = (message) => socket.send(JSON.stringify(message))
  page.has = (type) => page.heard.some((message) => message.type === type)
  return page
}
