//! A server that answers, lies, or closes the connection without a word.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use serde_json::Value;

/// What a request gets.
pub enum Reply {
    Json(Value),
    /// With a status and headers.
    Status(u16, &'static str, Value),
    Text(String),
    /// The connection ends.
    Nothing,
    /// The connection stays and nothing comes.
    Silence,
}

/// Serves JSON bodies on a port of its own until the process ends.
pub fn serve(handler: impl Fn(Value) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handler = Arc::clone(&handler);
            std::thread::spawn(move || one(stream, &*handler));
        }
    });
    url
}

/// One request a connection.
fn one(mut stream: TcpStream, handler: &dyn Fn(Value) -> Reply) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, headers, text) = match handler(serde_json::from_slice(&body).ok()?) {
        Reply::Json(value) => (200, "", value.to_string()),
        Reply::Status(status, headers, value) => (status, headers, value.to_string()),
        Reply::Text(text) => (200, "", text),
        Reply::Nothing => return None,
        Reply::Silence => {
            std::thread::sleep(std::time::Duration::from_secs(120));
            return None;
        }
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(text.as_bytes()).ok()
}
