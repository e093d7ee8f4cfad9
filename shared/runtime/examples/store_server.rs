//! The embedded store in a process of its own, for tests that kill it: `store_server FOLDER` prints
//! its endpoint.

#[tokio::main]
async fn main() {
    let root = std::env::args_os().nth(1).expect("a folder is given");
    let folder = cedm_store::Folder::open(root.as_ref()).expect("the folder can be opened");
    folder
        .create_bucket("cedm")
        .expect("the bucket can be made");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    println!(
        "http://{}",
        listener
            .local_addr()
            .expect("a bound socket has an address")
    );
    let keys = cedm_store::Keys {
        access: "access".to_owned(),
        secret: "blue-door-7".to_owned(),
    };
    cedm_store::serve(folder, keys, listener)
        .await
        .expect("the listener works");
}
